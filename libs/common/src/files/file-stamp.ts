/** Whether a file is still the one that was read. */

import { stat } from 'node:fs/promises'

/** Another text for another content, as far as the file system says; undefined where there is no file. */
export async function stampOf(file: string): Promise<string | undefined> {
  try {
    const { size, mtimeNs, ino } = await stat(file, { bigint: true })
    return `${size}:${mtimeNs}:${ino}`
  } catch {
    return undefined
  }
}
