/** The checkpoint of the chain's SSV events in a small file: what was read once is not read again after a restart. */

import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseSsvState, ssvStateToJson } from '@dvt-relayer/chain/ssv/checkpoint.ts'
import { emptySsvState, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { reasonOf } from '@dvt-relayer/common/errors.ts'
import { replaceFile } from '@dvt-relayer/common/files/replace-file.ts'
import { LARGE_FILE_BYTES, readText } from '@dvt-relayer/common/files/text-file.ts'
import type { Events } from '../../events.ts'

/** Creates the checkpoint of one scope. A file that cannot be used costs a longer start and nothing else. */
export function createSsvStateFile(
  { path, scope, isReadOnly = false }: { path: string; scope: SsvScope; isReadOnly?: boolean | undefined },
  events: Pick<Events, 'ssvStateUseless' | 'ssvStateUnwritable'>,
) {
  let saved: SsvState | undefined
  let isUnwritable = false
  return {
    path,
    /** What the file has; the state before the contract's first block where it is missing, broken or of another scope. */
    async load(): Promise<SsvState> {
      const found = await read(path, scope)
      if (typeof found === 'object') {
        saved = found
        return found
      }
      if (found !== 'missing') events.ssvStateUseless(path, found)
      return emptySsvState(scope)
    },
    /** Replaces the file as a whole, on disk before it returns. A disk that does not take it is told once. */
    async save(state: SsvState): Promise<void> {
      if (state === saved || isReadOnly) return
      try {
        await mkdir(dirname(path), { recursive: true })
        await replaceFile(path, ssvStateToJson(scope, state))
        saved = state
        isUnwritable = false
      } catch (error) {
        if (!isUnwritable) events.ssvStateUnwritable(path, reasonOf(error))
        isUnwritable = true
      }
    },
  }
}
export type SsvStateFile = ReturnType<typeof createSsvStateFile>

async function read(path: string, scope: SsvScope): Promise<SsvState | 'missing' | 'other_scope' | 'broken'> {
  try {
    return parseSsvState(scope, await readText(path, LARGE_FILE_BYTES))
  } catch (error) {
    return reasonOf(error) === 'ENOENT' ? 'missing' : 'broken'
  }
}
