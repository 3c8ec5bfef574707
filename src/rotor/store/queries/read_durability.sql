-- `rotor bench`: what the figures depend on: whether commits wait for the disk, and the version of Postgres. No tables.
SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit
