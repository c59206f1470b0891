/** Files that are old or new, never half. */

import { constants } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Replaces a file as a whole, for its owner alone: written beside it, synced, and moved over it. Its folder must be there. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}.new`
  try {
    await using file = await open(beside, 'w', 0o600)
    await file.writeFile(text)
    await file.sync()
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true })
    throw error
  }
  await using folder = await open(dirname(path), constants.O_RDONLY)
  await folder.sync()
}
