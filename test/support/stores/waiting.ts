/**
 * Of `pg_stat_activity`: statements on this database that wait for a row which another transaction has locked. Not those of background work,
 * which take turns by an advisory lock whenever two come at once.
 */
export const WAITS_FOR_ROW = `datname = current_database() and wait_event_type = 'Lock' and wait_event in ('transactionid', 'tuple')`
