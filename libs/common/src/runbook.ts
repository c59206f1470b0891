/** Where the documentation says what to do: each error that ends a start has a section of its own in the runbook. */

/** The page. */
export const RUNBOOK = 'docs/operating/runbook.md'

/** Errors of one statement: at a start they are all the same thing, a database that is not as it should be. */
const OF_STATEMENTS =
  /^DATABASE_(?:(?:UNIQUE|FOREIGN_KEY|NOT_NULL|CHECK)_VIOLATION|VALUE_INVALID|NUMBER_UNSAFE|CONFLICT|QUERY_INVALID)$/

/** The section about an error of this code. */
export const sectionOf = (code: string): string => (OF_STATEMENTS.test(code) ? 'DATABASE_FAILED' : code).toLowerCase()

/** The line that leads there. */
export const seeRunbook = (code: string): string => `see ${RUNBOOK}#${sectionOf(code)}`
