/** The order of test files: the longest first, since one that began last would run alone at the end. */

import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

/** Seconds of the files that take some, as the summary's reporter measured them (`TEST_SECONDS=write npm test`). */
export const SECONDS_FILE = new URL('./seconds.json', import.meta.url)

/** By measured time; what is short or not measured yet comes last, in Vitest's own order. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const measured = JSON.parse(readFileSync(SECONDS_FILE, 'utf8')) as Record<string, number>
    const secondsOf = ({ moduleId, project }: TestSpecification) =>
      measured[relative(project.config.root, moduleId)] ?? 0
    return (await super.sort(files)).sort((a, b) => secondsOf(b) - secondsOf(a))
  }
}
