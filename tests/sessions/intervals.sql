-- Intervals of the SQL standard, zones in texts.
SELECT interval '3 4:65'
SELECT interval '4:65'
SELECT interval '4:05:61'
SELECT interval '1-2', interval '-1-2', interval '+1-2 -3 +4:05:06'
SELECT interval '1-12'
SELECT interval '4:05' hour to minute, interval '4:05' minute to second, interval '1 2' day to hour
SELECT interval '1' year, interval '1-2' year to month, interval '3 4' day to hour, interval '3 4:05:06' day to minute
SELECT interval '5' minute, interval '100' second, interval '1 day 2:03:04' hour, interval '1.5' hour
SELECT interval '1 2:3' day to minute, interval '1' day, interval '14 months' year, interval '1y 2' month
SELECT interval '2 4:05' hour to minute, interval '10' hour to minute, interval '10' day to second
SELECT '1-2'::interval year to month, cast('3' as interval day), cast('4:05' as interval minute to second)
SELECT interval '1 2 hours', interval '1 2:00', interval '-1 2'  day to hour
SELECT interval '1 2 3' day to hour
SELECT interval '1' month to year
SELECT '2024-01-01 12:00 GMT+2'::timestamptz, '2024-01-01 12:00 UTC-3'::timestamptz, '2024-01-01 12:00 GMT+02:30'::timestamptz, '2024-01-01 12:00 z'::timestamptz
SELECT '2024-07-01 12:00 IST'::timestamptz, '2024-07-01 12:00 AEST'::timestamptz, '2024-07-01 12:00 NZST'::timestamptz, '2024-07-01 12:00 SGT'::timestamptz
SELECT '2024-07-01 12:00'::timestamp AT TIME ZONE 'AEDT', '2024-07-01 12:00+00'::timestamptz AT TIME ZONE 'IST', '2012-07-01 12:00'::timestamp AT TIME ZONE 'MSK'
SELECT '2024-01-01 12:00 UTC +2'::timestamptz
SELECT * FROM (VALUES (interval '1 day'), ('2 days'), (NULL)) AS v(x) ORDER BY x
SELECT * FROM (VALUES ('1 hour', 1), (interval '2 days', 2)) AS v(x, n) ORDER BY n
-- cut to fields what is no literal
CREATE TABLE iv (id integer PRIMARY KEY, i interval)
INSERT INTO iv VALUES (1, '1 year 5 mons 3 days 04:05:06.789'), (2, '-1 year -5 mons -3 days -04:05:06.789'), (3, NULL)
SELECT id, i::interval year, CAST(i AS interval month), i::interval year to month, i::interval day FROM iv ORDER BY id
SELECT id, i::interval hour, i::interval day to hour, i::interval minute, i::interval hour to minute FROM iv ORDER BY id
SELECT id, i::interval second, i::interval second (1), i::interval day to second (0), CAST(i + i AS interval minute to second (2)) FROM iv ORDER BY id
SELECT INTERVAL '1.56' SECOND (1), INTERVAL '1:02:03.456' HOUR TO SECOND (2), INTERVAL '3 04:05' DAY TO MINUTE
SELECT '1 day 02:03'::interval day, ('1 day' || ' 02:03')::interval day
