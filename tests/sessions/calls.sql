-- Functions that change their session, or wait: set_config, pg_sleep, advisory locks; and what a transaction may write.
SELECT set_config('work_mem', '1024', false)
SHOW work_mem
SELECT pg_catalog.set_config('search_path', '', false)
SHOW search_path
RESET search_path
SELECT current_setting('enable_sort') AS cur, set_config('enable_sort', 'off', false) AS new
SHOW enable_sort
SELECT set_config('app.name', 'a', false), current_setting('app.name')
SELECT current_setting('app.name'), current_setting('APP.name', true)
SELECT set_config('app.name', 'b', true)
SELECT current_setting('app.name')
BEGIN
SELECT set_config('app.name', 'c', true), set_config('lock_timeout', '3s', true)
SELECT current_setting('app.name'), current_setting('lock_timeout')
COMMIT
SELECT current_setting('app.name'), current_setting('lock_timeout')
BEGIN
SELECT set_config('app.name', 'd', false)
SELECT current_setting('app.name')
ROLLBACK
SELECT current_setting('app.name')
SELECT set_config('nope', '1', false)
SELECT set_config(NULL, '1', false)
SELECT set_config('work_mem', NULL, false)
SHOW work_mem
SELECT set_config('work_mem', 'x', false)
SELECT set_config('server_version', '1', false)
SELECT set_config('port', '1', false)
SELECT set_config('work_mem', '1MB')
SELECT current_setting('nope')
SELECT current_setting('nope', true)
SELECT current_setting('nope', false)
SELECT current_setting(NULL) IS NULL
SELECT set_config('app.n', g::text, false) FROM generate_series(1, 3) g
SELECT current_setting('app.n')
SELECT 1 WHERE set_config('app.w', '1', false) = '1'
SELECT current_setting('app.w')
SELECT CASE WHEN false THEN set_config('app.w', '2', false) ELSE 'no' END
SELECT current_setting('app.w')
SELECT set_config('timezone', 'Asia/Tokyo', false)
SELECT '2026-01-01 00:00:00+00'::timestamptz
RESET timezone
SELECT pg_sleep(0)
SELECT pg_sleep(0.01), 1 AS one
SELECT pg_sleep('0')
SELECT pg_sleep(NULL) IS NULL
SELECT pg_sleep(-1)
SELECT pg_sleep_for('10 milliseconds')
SELECT pg_sleep_until(now() - interval '1 day')
SELECT pg_sleep()
SELECT 1 WHERE pg_sleep(0) IS NOT NULL
SET statement_timeout = '500ms'
SELECT pg_sleep(30)
SELECT pg_sleep(30) FROM generate_series(1, 2)
RESET statement_timeout
SELECT pg_advisory_unlock(1)
SELECT pg_advisory_lock(1), pg_try_advisory_lock(1)
SELECT pg_advisory_unlock(1)
SELECT pg_advisory_unlock(1)
SELECT pg_advisory_unlock(1)
SELECT pg_advisory_lock_shared(1)
SELECT pg_advisory_unlock(1), pg_advisory_unlock_shared(1)
SELECT pg_advisory_lock(1, 2), pg_try_advisory_lock(5000000000)
SELECT pg_advisory_unlock(4294967298), pg_advisory_unlock(1, 2), pg_advisory_unlock(5000000000)
SELECT pg_advisory_lock(1, 5000000000)
SELECT pg_advisory_lock(1.5)
SELECT pg_advisory_lock('x')
SELECT pg_advisory_lock('7'), pg_advisory_unlock(7)
SELECT pg_try_advisory_lock(NULL) IS NULL
SELECT pg_advisory_lock(g) FROM generate_series(10, 12) g
SELECT g, pg_advisory_unlock(g) FROM generate_series(10, 13) g ORDER BY g
SELECT pg_try_advisory_lock_shared(20), pg_try_advisory_lock(20)
SELECT pg_advisory_unlock_all()
SELECT pg_advisory_unlock(20)
BEGIN
SELECT pg_advisory_xact_lock(7), pg_try_advisory_xact_lock(8), pg_try_advisory_xact_lock_shared(9)
SELECT pg_advisory_unlock(7), pg_advisory_unlock(8)
SELECT pg_advisory_lock(7)
COMMIT
SELECT pg_advisory_unlock(7)
SELECT pg_advisory_unlock(7)
SELECT CASE WHEN pg_try_advisory_lock(30) THEN 'mine' ELSE 'theirs' END
SELECT pg_advisory_unlock(30)
SELECT pg_advisory_lock(31)
DISCARD ALL
SELECT pg_advisory_unlock(31)
CREATE SEQUENCE counted
SELECT nextval('counted')
SELECT currval('counted'), lastval()
DISCARD SEQUENCES
SELECT currval('counted')
SELECT lastval()
SELECT nextval('counted')
CREATE TABLE t (id int PRIMARY KEY)
SET default_transaction_read_only = on
SHOW transaction_read_only
INSERT INTO t VALUES (1)
BEGIN
SHOW transaction_read_only
INSERT INTO t VALUES (1)
ROLLBACK
BEGIN READ WRITE
SHOW transaction_read_only
INSERT INTO t VALUES (1)
COMMIT
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SHOW default_transaction_read_only
INSERT INTO t VALUES (2)
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
INSERT INTO t VALUES (3)
BEGIN
SET TRANSACTION READ WRITE
INSERT INTO t VALUES (3)
COMMIT
INSERT INTO t VALUES (4)
SET default_transaction_read_only = off
BEGIN READ ONLY
SHOW transaction_read_only
INSERT INTO t VALUES (4)
ROLLBACK
SHOW transaction_read_only
BEGIN
SET transaction_read_only = on
INSERT INTO t VALUES (4)
ROLLBACK
INSERT INTO t VALUES (4)
SELECT id FROM t ORDER BY id
-- Series (never a very long one in FROM: PostgreSQL writes all of it into a file before LIMIT).
SELECT g FROM generate_series(1, 100000) g LIMIT 3
SELECT g FROM generate_series(10, 1, -4) g
SELECT g FROM generate_series(1.50, 4, 0.75) g
SELECT generate_series(1, 3) AS g, 'x' AS x
SELECT a, b FROM (VALUES (1), (2), (NULL), (3)) v (a), generate_series(a, 3) b ORDER BY a, b
SELECT g FROM generate_series(9223372036854775806, 9223372036854775807) g
SELECT g FROM generate_series(2147483646, 2147483647) g
SELECT g FROM generate_series(timestamp '2026-01-31', '2026-05-01', '1 month') g
SELECT g FROM generate_series(1, 3, 0) g
SELECT count(*), sum(g) FROM generate_series(1, 100000) g
SELECT count(*) FROM generate_series(1, 3) a, generate_series(a, 100000) b WHERE b % 2 = 0
SELECT g, n FROM generate_series(5, 6) WITH ORDINALITY s (g, n)
SELECT g FROM generate_series(NULL, 3) g
-- functions of the session in FROM
SELECT * FROM pg_try_advisory_lock(1)
SELECT a, b FROM pg_advisory_unlock(1) a, set_config('app.z', 'z', false) AS b
SELECT count(*) FROM pg_sleep(0.01)
SELECT current_setting('app.z')
