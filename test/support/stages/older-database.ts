/** Databases that an earlier version made. */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'

export const MIGRATIONS = fileURLToPath(new URL('../../../migrations', import.meta.url))
/** The migrations of the version before. */
const BEFORE = ['0000_first', '0001_generation_4', '0002_oracles']

/** A folder with these migrations alone, which ends with the test. */
export async function olderMigrations(before: readonly string[] = BEFORE): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'dvt-older-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await cp(MIGRATIONS, folder, { recursive: true })
  const file = join(folder, 'meta/_journal.json')
  const journal = JSON.parse(await readFile(file, 'utf8')) as { entries: { tag: string }[] }
  journal.entries = journal.entries.filter(({ tag }) => before.includes(tag))
  expect(journal.entries).toHaveLength(before.length)
  await writeFile(file, JSON.stringify(journal))
  return folder
}
