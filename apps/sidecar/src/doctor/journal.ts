/** What `doctor` finds of the deposit journal: it is read, and neither made nor locked. */

import { access, constants, readFile, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import type { SidecarConfig } from '../config.ts'
import type { Finding } from '../findings.ts'
import { parseJournal } from '../policy/journal-lines.ts'

const ELSEWHERE = 'JOURNAL_FILE puts it elsewhere'
/** Nothing tells whether the one that runs is the one this is about. */
const IN_USE = "in use by a running sidecar: if that is another node's, give this one a JOURNAL_FILE of its own"

/** Looks at the journal. */
export async function examineJournal({ deposits, lists }: SidecarConfig): Promise<Finding> {
  const { journalFile: file } = deposits
  if (!lists.includes('validators'))
    return finding('journal', 'unused', 'GENERATION=3 signs no deposits, so there is no deposit journal')
  let text: string
  try {
    text = await readFile(file, 'latin1')
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return missing(file)
    return problem(`the deposit journal ${file} cannot be read (${reasonOf(error)}); ${ELSEWHERE}`, file)
  }
  try {
    const { bindings, tornLine } = parseJournal(text, file)
    await access(file, constants.W_OK)
    const inUse = isLocked(`${await realpath(file)}.lock`)
    const torn = tornLine === undefined ? [] : [`line ${tornLine} was cut off by a crash; the next start removes it`]
    const message = `${count(bindings.size, 'validator')} bound to their vaults in ${file}${inUse ? `, ${IN_USE}` : ''}`
    const facts = { file, exists: true, bindings: bindings.size, in_use: inUse }
    return finding('journal', torn.length > 0 ? 'warning' : 'good', message, { details: torn, facts })
  } catch (error) {
    const code = reasonOf(error)
    if (!/^E[A-Z]+$/.test(code)) return problem(messageOf(error), file)
    return problem(
      `the deposit journal ${file} cannot be written to (${code}): no deposit would be signed; ${ELSEWHERE}`,
      file,
    )
  }
}

const problem = (message: string, file: string) => finding('journal', 'problem', message, { facts: { file } })

/** It is made with the first deposit, in a folder that is made too. */
async function missing(file: string): Promise<Finding> {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    try {
      await access(folder, constants.W_OK | constants.X_OK)
      const message = `there is no deposit journal ${file} yet: it is made with the first deposit. Where this sidecar signed deposits before, put its journal there first`
      const inUse = isLocked(`${file}.lock`)
      const details = inUse ? [`its lock is ${IN_USE}`] : []
      return finding('journal', 'good', message, {
        details,
        facts: { file, exists: false, bindings: 0, in_use: inUse },
      })
    } catch (error) {
      if (reasonOf(error) === 'ENOENT' && folder !== dirname(folder)) continue
      return problem(
        `the deposit journal ${file} could not be made (${reasonOf(error)} at ${folder}): no deposit would be signed; ${ELSEWHERE}`,
        file,
      )
    }
  }
}

/** Whether a sidecar holds the lock; a look takes none that would keep one from starting. */
function isLocked(lock: string): boolean {
  const SQLITE_BUSY = 5
  try {
    using file = new DatabaseSync(lock, { readOnly: true, timeout: 0 })
    file.prepare('select count(*) from sqlite_schema').get()
    return false
  } catch (error) {
    return (error as { errcode?: number }).errcode === SQLITE_BUSY
  }
}
