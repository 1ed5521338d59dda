-- What TimeZone changes: text in, text out, casts, fields, steps of months and days.
SHOW TimeZone
SET timezone = 'europe/berlin'
SHOW timezone
SELECT '2024-03-31 01:30'::timestamptz, '2024-03-31 02:30'::timestamptz, '2024-10-27 02:30'::timestamptz, '2024-07-01'::timestamptz
SELECT '2024-07-01 12:00+00'::timestamptz, '2024-01-01 12:00+00'::timestamptz::text, ('2024-01-01 12:00+00'::timestamptz)::text || '!'
SELECT '2024-07-01 23:30+00'::timestamptz::date, '2024-07-01 23:30+00'::timestamptz::timestamp, '2024-07-01 23:30+00'::timestamptz::time
SELECT '2024-07-01'::date::timestamptz, '2024-07-01 12:00'::timestamp::timestamptz, ('2024-07-01'::date)::timestamptz = '2024-06-30 22:00+00'
SELECT date_trunc('day', '2024-07-01 23:30+00'::timestamptz), date_trunc('month', '2024-06-30 23:30+00'::timestamptz), date_trunc('hour', '2024-10-27 01:30+00'::timestamptz)
SELECT date_trunc('hour', '2024-10-27 00:30+00'::timestamptz), date_trunc('minute', '2024-10-27 00:30:59+00'::timestamptz), date_trunc('week', '2024-03-31 12:00+00'::timestamptz)
SELECT extract(hour from '2024-07-01 12:00+00'::timestamptz), extract(timezone from '2024-07-01 12:00+00'::timestamptz), extract(timezone_hour from '2024-07-01 12:00+00'::timestamptz), extract(epoch from '2024-07-01 12:00+00'::timestamptz)
SELECT date_part('dow', '2024-06-30 23:00+00'::timestamptz), date_part('timezone_minute', '2024-07-01 12:00+00'::timestamptz), date_part('doy', '2024-12-31 23:30+00'::timestamptz)
SELECT extract(timezone from '2024-07-01 12:00'::timestamp)
SELECT to_char('2024-07-01 12:00+00'::timestamptz, 'YYYY-MM-DD HH24:MI TZ tz OF TZH:TZM'), to_char('2024-01-01 12:00+00'::timestamptz, 'HH24 TZ OF'), to_char('2024-01-01 12:00'::timestamp, 'HH24 TZ OF')
SELECT to_timestamp('2024-07-01 12:00', 'YYYY-MM-DD HH24:MI'), to_timestamp('2024-07-01 12:00+05', 'YYYY-MM-DD HH24:MITZH'), to_timestamp(0)
SELECT '2024-03-30 12:00+00'::timestamptz + interval '1 day', '2024-03-30 12:00+00'::timestamptz + interval '24 hours', '2024-10-26 12:00+00'::timestamptz + interval '1 day'
SELECT '2024-01-31 12:00+00'::timestamptz + interval '6 months', '2024-07-31 23:00+00'::timestamptz - interval '1 month 1 day 01:00', interval '1 day' + '2024-03-30 12:00+00'::timestamptz
SELECT '2024-07-01 12:00+00'::timestamptz - '2024-03-01 12:00+00'::timestamptz, age('2024-07-01 12:00+00'::timestamptz, '2024-03-01 12:00+00'::timestamptz)
SELECT '2024-07-01 12:00'::timestamp AT TIME ZONE 'America/New_York', '2024-07-01 12:00+00'::timestamptz AT TIME ZONE 'America/New_York'
SELECT '2024-07-01 12:00'::timestamp = '2024-07-01 10:00+00'::timestamptz, '2024-07-01'::date < '2024-06-30 23:00+00'::timestamptz, '2024-07-01 12:00+00'::timestamptz BETWEEN '2024-07-01 14:00' AND '2024-07-01 14:00'
SELECT make_timestamptz(2024, 7, 1, 12, 0, 0), make_timestamptz(2024, 7, 1, 12, 0, 0, 'Asia/Tokyo'), date_bin('1 day', '2024-07-01 23:30+00'::timestamptz, '2024-01-01 00:00+00')
SELECT array['2024-07-01 12:00+00'::timestamptz]::text, array['2024-07-01 12:00+00'::timestamptz], '{2024-07-01 12:00}'::timestamptz[]
SELECT to_json('2024-07-01 12:00+00'::timestamptz), to_jsonb('2024-01-01 12:00+00'::timestamptz), jsonb_build_object('t', '2024-01-01 12:00:00.5+00'::timestamptz), row_to_json(t) FROM (SELECT '2024-07-01 12:00+00'::timestamptz AS at) t
SELECT concat('2024-07-01 12:00+00'::timestamptz, '|'), concat_ws(',', '2024-07-01 12:00+00'::timestamptz, 1), format('%s', '2024-07-01 12:00+00'::timestamptz), quote_literal('2024-07-01 12:00+00'::timestamptz)
SELECT g FROM generate_series('2024-03-29 23:00+00'::timestamptz, '2024-04-02'::timestamptz, '1 day') AS g
SELECT ('2024-03-30 12:00+00'::timestamptz, interval '1 day') OVERLAPS ('2024-03-31 11:30+00'::timestamptz, interval '1 hour')
SELECT json_agg(x ORDER BY x), array_agg(x ORDER BY x), string_agg(x::text, ',' ORDER BY x) FROM (VALUES ('2024-07-01 12:00+00'::timestamptz), ('2024-01-01 12:00')) AS v(x)
SELECT x::date, count(*) FROM (SELECT '2024-07-01 12:00+00'::timestamptz AS x UNION ALL SELECT '2024-07-01 23:00+00') v GROUP BY 1 ORDER BY 1
SELECT x::text FROM (SELECT '2024-07-01 12:00+00'::timestamptz AS x UNION ALL SELECT '2024-01-01 23:00+00' UNION ALL SELECT NULL) v ORDER BY x
SELECT now()::text = now()::timestamptz::text, current_date = now()::date, localtimestamp = now()::timestamp, now() = now()::text::timestamptz, (now() AT TIME ZONE 'Europe/Berlin') = localtimestamp
CREATE TABLE zoned (id integer PRIMARY KEY, at timestamptz, local timestamp, day date)
INSERT INTO zoned VALUES (1, '2024-07-01 12:00', '2024-07-01 12:00', '2024-07-01'), (2, '2024-01-01 12:00+00', '2024-01-01 12:00+00', '2024-01-01')
INSERT INTO zoned SELECT 3, local, at, at FROM zoned WHERE id = 1
INSERT INTO zoned (id, at) VALUES (4, date '2024-07-01'), (5, timestamp '2024-10-27 02:30')
UPDATE zoned SET local = at, day = at WHERE id = 2
SELECT id, at, local, day, at::text FROM zoned ORDER BY id
SELECT id FROM zoned WHERE at = '2024-07-01 12:00' ORDER BY id
SELECT id FROM zoned WHERE at::date = '2024-07-01' ORDER BY id
SELECT a.id, b.id FROM zoned a JOIN zoned b ON a.at = b.local ORDER BY 1, 2
DELETE FROM zoned WHERE at < '2024-01-01 13:30'
SELECT id, extract(hour from at), date_trunc('day', at) FROM zoned ORDER BY id
SET timezone = 'America/New_York'
SELECT id, at, at::date, at::text, extract(hour from at) FROM zoned ORDER BY id
SELECT id FROM zoned WHERE at >= '2024-07-01' ORDER BY id
SET TIME ZONE 'Asia/Kolkata'
SHOW TIME ZONE
SELECT '2024-07-01 12:00+00'::timestamptz, to_char('2024-07-01 12:00+00'::timestamptz, 'TZ OF TZH TZM')
SET TIME ZONE -3.5
SHOW timezone
SELECT '2024-07-01 12:00+00'::timestamptz, '2024-07-01 12:00'::timestamptz = '2024-07-01 15:30+00', extract(timezone_minute from now())
SET TIME ZONE INTERVAL '+05:45' HOUR TO MINUTE
SELECT '2024-07-01 12:00+00'::timestamptz
SET TIME ZONE 'UTC+3'
SELECT '2024-07-01 12:00+00'::timestamptz
SET timezone TO 'PST8PDT'
SELECT '2024-07-01 12:00+00'::timestamptz, to_char('2024-07-01 12:00+00'::timestamptz, 'TZ')
SET timezone = 'Mars/Olympus'
SET timezone = 'PST'
SHOW timezone
BEGIN
SET LOCAL timezone = 'Asia/Tokyo'
SELECT '2024-07-01 12:00+00'::timestamptz
COMMIT
SELECT '2024-07-01 12:00+00'::timestamptz
BEGIN
SET timezone = 'Asia/Tokyo'
ROLLBACK
SHOW timezone
SELECT '2024-07-01 12:00+00'::timestamptz
SET timezone = 'Europe/London'
CREATE VIEW zoned_view AS SELECT id, at::date AS day, at > '2024-07-01 11:30' AS late FROM zoned
SELECT * FROM zoned_view ORDER BY id
SET timezone = 'Asia/Tokyo'
SELECT * FROM zoned_view ORDER BY id
PREPARE p (timestamptz) AS SELECT $1 AS at, $1::date AS day
EXECUTE p ('2024-07-01 12:00')
SET timezone = 'UTC'
EXECUTE p ('2024-07-01 12:00')
SELECT '1883-01-01 12:00+00'::timestamptz, '0044-03-15 12:00:00 BC'::timestamptz
SET timezone = 'America/New_York'
SELECT '1883-01-01 12:00+00'::timestamptz, '0044-03-15 12:00:00 BC'::timestamptz, '2500-07-01 12:00+00'::timestamptz, 'infinity'::timestamptz, 'infinity'::timestamptz::date, 'epoch'::timestamptz
SELECT to_json('0044-03-15 12:00:00 BC'::timestamptz), to_json('1883-01-01 12:00+00'::timestamptz)
RESET timezone
SELECT '2024-07-01 12:00'::timestamptz = '2024-07-01 12:00+00'
-- Texts in a DEFAULT and a CHECK are of the zone of who defined it
SET timezone = 'Asia/Tokyo'
CREATE TABLE zd (id integer PRIMARY KEY, a timestamptz DEFAULT '2026-07-01 00:00', b timestamptz DEFAULT ('2026-01-01'::timestamptz), c timestamptz CHECK (c >= '2026-01-01 00:00'), d timestamp DEFAULT '2026-07-01 00:00', CHECK (c BETWEEN '2026-01-01' AND TIMESTAMPTZ '2027-01-01' AND a < '2030-01-01 12:00'::timestamptz))
SET timezone = 'America/New_York'
INSERT INTO zd (id) VALUES (1)
ALTER TABLE zd ALTER COLUMN a SET DEFAULT '2026-07-01 12:00'
SET timezone = 'UTC'
INSERT INTO zd (id) VALUES (2)
INSERT INTO zd (id, c) VALUES (3, '2025-12-31 15:00:00+00')
INSERT INTO zd (id, c) VALUES (4, '2025-12-31 14:59:59+00')
INSERT INTO zd (id, c) VALUES (5, '2026-12-31 15:00:00+00')
INSERT INTO zd (id, c) VALUES (6, '2026-12-31 15:00:01+00')
SELECT * FROM zd ORDER BY id
SET timezone = 'Asia/Tokyo'
PREPARE pz (integer) AS SELECT '2026-07-01 00:00'::timestamptz, TIMESTAMPTZ '2026-07-01 00:00+00', $1
EXECUTE pz (1)
SET timezone = 'UTC'
EXECUTE pz (1)
