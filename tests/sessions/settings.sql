-- Settings that clients send: taken, judged, shown.
SET work_mem = '64MB'
SHOW work_mem
SET work_mem = 65536
SHOW work_mem
SET work_mem TO '1.5GB'
SHOW work_mem
SET work_mem = 10
SET work_mem = '10XB'
RESET work_mem
SHOW work_mem
SET maintenance_work_mem = '1GB'
SHOW maintenance_work_mem
SET effective_cache_size = '4GB'
SHOW effective_cache_size
SET synchronous_commit = off
SHOW synchronous_commit
SET synchronous_commit = 'maybe'
SET synchronous_commit = yes
SHOW synchronous_commit
SET enable_seqscan = off
SHOW enable_seqscan
SET enable_hashjoin TO false
SHOW enable_hashjoin
SET enable_nestloop = 'maybe'
SET random_page_cost = 1.1
SHOW random_page_cost
SET random_page_cost = -1
SET jit = off
SHOW jit
SET jit_above_cost = 1e6
SHOW jit_above_cost
SET lock_timeout = '90s'
SHOW lock_timeout
SET lock_timeout = 60000
SHOW lock_timeout
SET idle_in_transaction_session_timeout = '1h'
SHOW idle_in_transaction_session_timeout
SET idle_session_timeout = 0
SET statement_timeout = 30000
SHOW statement_timeout
SET statement_timeout = '50 sec'
SET statement_timeout = 0
SET default_transaction_isolation = 'repeatable read'
SHOW default_transaction_isolation
SET default_transaction_isolation = 'chaos'
SET default_transaction_read_only = no
SHOW default_transaction_read_only
SET client_min_messages = WARNING
SHOW client_min_messages
SET client_min_messages = loud
SET check_function_bodies = false
SET xmloption = content
SET row_security = off
SET default_tablespace = ''
SET default_table_access_method = heap
SET max_parallel_workers_per_gather = 0
SHOW max_parallel_workers_per_gather
SET plan_cache_mode = force_custom_plan
SHOW plan_cache_mode
SET cursor_tuple_fraction = 0.5
SHOW cursor_tuple_fraction
SET geqo_selection_bias = 3
SET constraint_exclusion = on
SHOW constraint_exclusion
SET no_such_setting = 1
SET my.own = 'x'
SHOW my.own
SELECT current_setting('work_mem'), current_setting('enable_seqscan')
SET LOCAL work_mem = '8MB'
BEGIN
SET LOCAL work_mem = '8MB'
SHOW work_mem
COMMIT
SHOW work_mem
RESET ALL
SHOW work_mem
SET work_mem = '64MB'
DISCARD PLANS
DISCARD TEMP
DISCARD SEQUENCES
SHOW work_mem
-- Every setting of a session or a superuser that is not above, at its first value
SET allow_in_place_tablespaces = 'off'
SHOW allow_in_place_tablespaces
SET allow_system_table_mods = 'off'
SHOW allow_system_table_mods
SET array_nulls = 'on'
SHOW array_nulls
SET backend_flush_after = '1'
SHOW backend_flush_after
SET backslash_quote = 'safe_encoding'
SHOW backslash_quote
SET backtrace_functions = ''
SHOW backtrace_functions
SET bytea_output = 'hex'
SHOW bytea_output
SET client_connection_check_interval = '1'
SHOW client_connection_check_interval
SET commit_delay = '1'
SHOW commit_delay
SET commit_siblings = '6'
SHOW commit_siblings
SET compute_query_id = 'auto'
SHOW compute_query_id
SET cpu_index_tuple_cost = '0.005'
SHOW cpu_index_tuple_cost
SET cpu_operator_cost = '0.0025'
SHOW cpu_operator_cost
SET cpu_tuple_cost = '0.01'
SHOW cpu_tuple_cost
SET deadlock_timeout = '1001'
SHOW deadlock_timeout
SET debug_discard_caches = '0'
SHOW debug_discard_caches
SET debug_pretty_print = 'on'
SHOW debug_pretty_print
SET debug_print_parse = 'off'
SHOW debug_print_parse
SET debug_print_plan = 'off'
SHOW debug_print_plan
SET debug_print_rewritten = 'off'
SHOW debug_print_rewritten
SET default_statistics_target = '101'
SHOW default_statistics_target
SET default_text_search_config = 'pg_catalog.simple'
SHOW default_text_search_config
SET default_toast_compression = 'pglz'
SHOW default_toast_compression
SET default_transaction_deferrable = 'off'
SHOW default_transaction_deferrable
SET dynamic_library_path = '$libdir'
SHOW dynamic_library_path
SET effective_io_concurrency = '2'
SHOW effective_io_concurrency
SET enable_async_append = 'on'
SHOW enable_async_append
SET enable_bitmapscan = 'on'
SHOW enable_bitmapscan
SET enable_gathermerge = 'on'
SHOW enable_gathermerge
SET enable_hashagg = 'on'
SHOW enable_hashagg
SET enable_incremental_sort = 'on'
SHOW enable_incremental_sort
SET enable_indexonlyscan = 'on'
SHOW enable_indexonlyscan
SET enable_indexscan = 'on'
SHOW enable_indexscan
SET enable_material = 'on'
SHOW enable_material
SET enable_memoize = 'on'
SHOW enable_memoize
SET enable_mergejoin = 'on'
SHOW enable_mergejoin
SET enable_parallel_append = 'on'
SHOW enable_parallel_append
SET enable_parallel_hash = 'on'
SHOW enable_parallel_hash
SET enable_partition_pruning = 'on'
SHOW enable_partition_pruning
SET enable_partitionwise_aggregate = 'off'
SHOW enable_partitionwise_aggregate
SET enable_partitionwise_join = 'off'
SHOW enable_partitionwise_join
SET enable_sort = 'on'
SHOW enable_sort
SET enable_tidscan = 'on'
SHOW enable_tidscan
SET escape_string_warning = 'on'
SHOW escape_string_warning
SET extension_destdir = ''
SHOW extension_destdir
SET extra_float_digits = '1'
SHOW extra_float_digits
SET from_collapse_limit = '9'
SHOW from_collapse_limit
SET geqo = 'on'
SHOW geqo
SET geqo_effort = '6'
SHOW geqo_effort
SET geqo_generations = '1'
SHOW geqo_generations
SET geqo_pool_size = '1'
SHOW geqo_pool_size
SET geqo_seed = '0'
SHOW geqo_seed
SET geqo_threshold = '13'
SHOW geqo_threshold
SET gin_fuzzy_search_limit = '1'
SHOW gin_fuzzy_search_limit
SET gin_pending_list_limit = '4097'
SHOW gin_pending_list_limit
SET hash_mem_multiplier = '2'
SHOW hash_mem_multiplier
SET ignore_checksum_failure = 'off'
SHOW ignore_checksum_failure
SET jit_dump_bitcode = 'off'
SHOW jit_dump_bitcode
SET jit_expressions = 'on'
SHOW jit_expressions
SET jit_inline_above_cost = '500000'
SHOW jit_inline_above_cost
SET jit_optimize_above_cost = '500000'
SHOW jit_optimize_above_cost
SET jit_tuple_deforming = 'on'
SHOW jit_tuple_deforming
SET join_collapse_limit = '9'
SHOW join_collapse_limit
SET lc_monetary = 'C'
SHOW lc_monetary
SET lc_numeric = 'C'
SHOW lc_numeric
SET lc_time = 'C'
SHOW lc_time
SET lo_compat_privileges = 'off'
SHOW lo_compat_privileges
SET log_duration = 'off'
SHOW log_duration
SET log_error_verbosity = 'default'
SHOW log_error_verbosity
SET log_executor_stats = 'off'
SHOW log_executor_stats
SET log_lock_waits = 'off'
SHOW log_lock_waits
SET log_min_duration_sample = '-1'
SHOW log_min_duration_sample
SET log_min_duration_statement = '-1'
SHOW log_min_duration_statement
SET log_min_error_statement = 'error'
SHOW log_min_error_statement
SET log_min_messages = 'warning'
SHOW log_min_messages
SET log_parameter_max_length = '-1'
SHOW log_parameter_max_length
SET log_parameter_max_length_on_error = '0'
SHOW log_parameter_max_length_on_error
SET log_parser_stats = 'off'
SHOW log_parser_stats
SET log_planner_stats = 'off'
SHOW log_planner_stats
SET log_replication_commands = 'off'
SHOW log_replication_commands
SET log_statement = 'none'
SHOW log_statement
SET log_statement_sample_rate = '1'
SHOW log_statement_sample_rate
SET log_statement_stats = 'off'
SHOW log_statement_stats
SET log_temp_files = '-1'
SHOW log_temp_files
SET log_transaction_sample_rate = '0'
SHOW log_transaction_sample_rate
SET logical_decoding_work_mem = '65537'
SHOW logical_decoding_work_mem
SET maintenance_io_concurrency = '11'
SHOW maintenance_io_concurrency
SET max_parallel_maintenance_workers = '3'
SHOW max_parallel_maintenance_workers
SET max_parallel_workers = '9'
SHOW max_parallel_workers
SET max_stack_depth = '1024'
SHOW max_stack_depth
SET min_parallel_index_scan_size = '65'
SHOW min_parallel_index_scan_size
SET min_parallel_table_scan_size = '1025'
SHOW min_parallel_table_scan_size
SET parallel_leader_participation = 'on'
SHOW parallel_leader_participation
SET parallel_setup_cost = '1000'
SHOW parallel_setup_cost
SET parallel_tuple_cost = '0.1'
SHOW parallel_tuple_cost
SET password_encryption = 'scram-sha-256'
SHOW password_encryption
SET quote_all_identifiers = 'off'
SHOW quote_all_identifiers
SET recursive_worktable_factor = '10'
SHOW recursive_worktable_factor
SET restrict_nonsystem_relation_kind = ''
SHOW restrict_nonsystem_relation_kind
SET seq_page_cost = '1'
SHOW seq_page_cost
SET session_replication_role = 'origin'
SHOW session_replication_role
SET standard_conforming_strings = 'on'
SHOW standard_conforming_strings
SET stats_fetch_consistency = 'cache'
SHOW stats_fetch_consistency
SET synchronize_seqscans = 'on'
SHOW synchronize_seqscans
SET temp_buffers = '2000'
SHOW temp_buffers
SET temp_file_limit = '-1'
SHOW temp_file_limit
SET trace_notify = 'off'
SHOW trace_notify
SET trace_sort = 'off'
SHOW trace_sort
SET track_activities = 'on'
SHOW track_activities
SET track_counts = 'on'
SHOW track_counts
SET track_functions = 'none'
SHOW track_functions
SET track_io_timing = 'off'
SHOW track_io_timing
SET track_wal_io_timing = 'off'
SHOW track_wal_io_timing
SET transaction_deferrable = 'off'
SHOW transaction_deferrable
SET transaction_read_only = 'off'
SHOW transaction_read_only
SET transform_null_equals = 'off'
SHOW transform_null_equals
SET update_process_title = 'on'
SHOW update_process_title
SET vacuum_cost_delay = '0'
SHOW vacuum_cost_delay
SET vacuum_cost_limit = '201'
SHOW vacuum_cost_limit
SET vacuum_cost_page_dirty = '21'
SHOW vacuum_cost_page_dirty
SET vacuum_cost_page_hit = '2'
SHOW vacuum_cost_page_hit
SET vacuum_cost_page_miss = '3'
SHOW vacuum_cost_page_miss
SET vacuum_failsafe_age = '1600000001'
SHOW vacuum_failsafe_age
SET vacuum_freeze_min_age = '50000001'
SHOW vacuum_freeze_min_age
SET vacuum_freeze_table_age = '150000001'
SHOW vacuum_freeze_table_age
SET vacuum_multixact_failsafe_age = '1600000001'
SHOW vacuum_multixact_failsafe_age
SET vacuum_multixact_freeze_min_age = '5000001'
SHOW vacuum_multixact_freeze_min_age
SET vacuum_multixact_freeze_table_age = '150000001'
SHOW vacuum_multixact_freeze_table_age
SET wal_compression = 'off'
SHOW wal_compression
SET wal_consistency_checking = ''
SHOW wal_consistency_checking
SET wal_init_zero = 'on'
SHOW wal_init_zero
SET wal_recycle = 'on'
SHOW wal_recycle
SET wal_sender_timeout = '60001'
SHOW wal_sender_timeout
SET wal_skip_threshold = '2049'
SHOW wal_skip_threshold
SET xmlbinary = 'base64'
SHOW xmlbinary
SET zero_damaged_pages = 'off'
SHOW zero_damaged_pages
SET vacuum_cost_delay = 10
SHOW vacuum_cost_delay
SET vacuum_cost_delay = '0.5ms'
SHOW vacuum_cost_delay
SET vacuum_cost_delay = '50us'
SHOW vacuum_cost_delay
SET vacuum_cost_delay = 1000
SET vacuum_cost_limit = 0
SET log_parameter_max_length = '2kB'
SHOW log_parameter_max_length
SET log_min_messages = 'loud'
SET port = 5432
SET max_connections = 5
SET block_size = 1
SET fsync = off
SET nothing_such = 1
SET lc_monetary = 'tlh'
SHOW max_identifier_length
SHOW block_size
SHOW lc_collate
SHOW default_transaction_read_only
SHOW transaction_deferrable
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SELECT pg_catalog.set_config('search_path', '', false); SET check_function_bodies = false; SET xmloption = content; SET client_min_messages = warning; SET row_security = off
