-- Arrays beside literals whose type is open.
SELECT ARRAY[1, 2] = '{1,2}', '{1,2}' = ARRAY[1, 2], ARRAY[1, 2] <> '{1,2}', ARRAY[1, 2] < '{1,3}'
SELECT ARRAY['a', 'b'] = '{a,b}', ARRAY[1.5] = '{1.50}', ARRAY[true] = '{t}'
SELECT coalesce(NULL::int[], '{}'), coalesce(ARRAY[1], '{2}'), coalesce(NULL::text[], '{a,b}')
SELECT CASE WHEN true THEN ARRAY[1] ELSE '{2}' END, CASE WHEN false THEN '{1}' ELSE ARRAY[2] END
SELECT ARRAY[1, 2] IN ('{1,2}', '{3}'), ARRAY[1] IN (ARRAY[1], '{2}'), ARRAY[1] BETWEEN '{0}' AND '{2}'
SELECT nullif(ARRAY[1], '{1}'), nullif(ARRAY[1], '{2}'), greatest(ARRAY[1], '{2}'), least(ARRAY[1], '{2}')
SELECT ARRAY[1, 2] @> '{1}', '{1}' <@ ARRAY[1, 2], ARRAY[1, 2] && '{2,3}', ARRAY[1] || '{2,3}', '{0}' || ARRAY[1]
SELECT ARRAY[1] = '{x}'
SELECT a FROM (VALUES (1, '{1,2}'::int[]), (2, '{}')) AS v(id, a) WHERE a = '{1,2}'
SELECT coalesce(a, '{}') FROM (VALUES (1, '{1,2}'::int[]), (2, NULL)) AS v(id, a) ORDER BY id
SELECT array_position('{1,2,3}'::int[], 2), 2 = ANY ('{1,2}'), array_append('{1}', 2), array_cat('{1}', ARRAY[2])
CREATE TABLE arr (id integer PRIMARY KEY, a integer[], t text[])
INSERT INTO arr VALUES (1, '{1,2}', '{x,y}'), (2, '{}', NULL), (3, NULL, '{}')
SELECT id FROM arr WHERE a = '{1,2}' OR t = '{}' ORDER BY id
SELECT id, coalesce(a, '{0}'), coalesce(t, '{}') FROM arr ORDER BY id
UPDATE arr SET a = coalesce(a, '{}') || 5 WHERE t <> '{x}' RETURNING id, a
SELECT id, a[1], t[2], a[1:2] FROM arr ORDER BY id
