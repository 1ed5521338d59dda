-- Columns whose type has a modifier: what is written is rounded, or does not fit.
CREATE TABLE m (id integer PRIMARY KEY, t timestamp(3), z timestamptz(0), c time(2), i interval(1), v varchar(3)[], ts timestamp(3)[])
INSERT INTO m VALUES (1, '2024-01-01 12:00:00.123456', '2024-01-01 12:00:00.5+00', '12:00:00.999', '1.26 seconds', '{abc,d}', '{2024-01-01 12:00:00.0005}')
INSERT INTO m VALUES (2, '2024-01-01 12:00:00.0005', '2024-01-01 12:00:00.499999+00', '23:59:59.995', '1 day 00:00:00.05', '{}', NULL)
INSERT INTO m (id, v) VALUES (3, '{abcd}')
INSERT INTO m (id, t) SELECT 4, '2024-01-01 12:00:00.123999'::timestamp
UPDATE m SET t = '2024-01-01 12:00:00.9996', v = ARRAY['xyz', NULL] WHERE id = 1
INSERT INTO m (id, t) VALUES (1, '2024-01-01 12:00:00.1234') ON CONFLICT (id) DO UPDATE SET t = excluded.t + interval '0.0006 seconds'
SELECT id, t, z, c, i, v, ts FROM m ORDER BY id
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'm'::regclass AND attnum > 0 ORDER BY attnum
SELECT t = '2024-01-01 12:00:00.124' FROM m WHERE id = 4
CREATE TABLE n (id integer PRIMARY KEY, free numeric, exact numeric(30, 20))
INSERT INTO n VALUES (1, 0.1234567890123456, 0.12345678901234567891)
INSERT INTO n VALUES (2, 12345678901234567890.5, 1234567890.123456789012345678914)
SELECT id, free = 0.1234567890123456, exact = 0.12345678901234567891, free = 12345678901234567890.5, exact = 1234567890.12345678901234567891 FROM n ORDER BY id
