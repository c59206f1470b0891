/** The order of test files: whole stories with many processes first, since one that began last would run alone at the end. */

import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

const isStory = ({ moduleId }: TestSpecification) => /\/test\/e2e\/|-kill\.test\.ts$/.test(moduleId)

/** Vitest's own order, but for that. */
export class StoriesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return [...sorted.filter(isStory), ...sorted.filter((file) => !isStory(file))]
  }
}
