//! The demo's SQL.

/// The inputs: facts are streams, things with an identity are tables.
pub const INPUTS: &str = "
CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT);
CREATE TABLE airports (faa TEXT PRIMARY KEY, name TEXT, lat DOUBLE PRECISION, lon DOUBLE PRECISION, alt INT, tz INT, dst TEXT, tzone TEXT);
CREATE TABLE planes (tailnum TEXT PRIMARY KEY, year INT, type TEXT, manufacturer TEXT, model TEXT, engines INT, seats INT, speed INT, engine TEXT);
CREATE STREAM weather (origin TEXT, time_hour TIMESTAMP, temp DOUBLE PRECISION, dewp DOUBLE PRECISION, humid DOUBLE PRECISION,
    wind_dir INT, wind_speed DOUBLE PRECISION, wind_gust DOUBLE PRECISION, precip DOUBLE PRECISION, pressure DOUBLE PRECISION,
    visib DOUBLE PRECISION);
CREATE STREAM flights (time_hour TIMESTAMP, carrier TEXT, flight INT, tailnum TEXT, origin TEXT, dest TEXT, sched_dep_time INT,
    dep_time INT, dep_delay INT, arr_time INT, sched_arr_time INT, arr_delay INT, air_time INT, distance INT);
";

/// Name and query of each view; the first one is rebuilt at the end.
pub const VIEWS: [(&str, &str); 4] = [
    (
        "carrier_delay",
        "SELECT carrier, window_start, count(*) AS flights, avg(arr_delay) AS delay_min, max(arr_delay) AS worst_min
         FROM TUMBLE(flights, time_hour, INTERVAL '1 hour') GROUP BY carrier, window_start",
    ),
    (
        "worst_routes",
        "SELECT origin, dest, count(*) AS flights, avg(arr_delay) AS delay_min FROM flights
         GROUP BY origin, dest HAVING count(*) >= 100 ORDER BY delay_min DESC, origin, dest LIMIT 10",
    ),
    (
        "flight_weather",
        "SELECT f.carrier, f.flight, f.time_hour, f.origin, f.dep_delay, w.wind_speed, w.visib, w.precip
         FROM flights f JOIN weather w ON f.origin = w.origin AND f.time_hour = w.time_hour WHERE f.dep_delay > 60",
    ),
    (
        "seats_per_day",
        "SELECT date_trunc('day', f.time_hour) AS day, count(*) AS flights, sum(p.seats) AS seats
         FROM flights f JOIN planes p ON f.tailnum = p.tailnum GROUP BY date_trunc('day', f.time_hour)",
    ),
];

/// Title and question of each table on the screen; `{hour}` is the hour that was played last. Each is ordinary SQL over the views.
pub const PANELS: [(&str, &str); 3] = [
    (
        "worst routes of the year (top-k)",
        "SELECT w.origin, a.name AS destination, w.flights, round(w.delay_min, 2) AS delay_min
         FROM worst_routes w JOIN airports a ON a.faa = w.dest ORDER BY w.delay_min DESC, w.origin, w.dest",
    ),
    (
        "carriers in the last 24 hours (event time)",
        "SELECT l.name AS carrier, sum(c.flights) AS flights, round(sum(c.delay_min * c.flights) / sum(c.flights), 1) AS delay_min,
                max(c.worst_min) AS worst_min
         FROM carrier_delay c JOIN airlines l ON l.carrier = c.carrier
         WHERE c.window_start > TIMESTAMP '{hour}' - INTERVAL '24 hours' GROUP BY l.name ORDER BY 2 DESC, 1 LIMIT 10",
    ),
    (
        "late and in the weather of its hour (join)",
        "SELECT time_hour AS hour, origin, carrier, dep_delay AS late_min, round(CAST(wind_speed AS numeric), 1) AS wind_mph,
                round(CAST(visib AS numeric), 1) AS visible_mi
         FROM flight_weather WHERE time_hour > TIMESTAMP '{hour}' - INTERVAL '72 hours' ORDER BY time_hour DESC, dep_delay DESC, carrier, origin LIMIT 8",
    ),
];
