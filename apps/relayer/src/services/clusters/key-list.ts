/**
 * PUBLIC_KEYS_FILE: validator public keys to hand out, one a line (generation 4). A key that a cluster lock or an SSV cluster covers
 * belongs to that cluster; the others make a cluster of their own with SIGNATURE_THRESHOLD. Without it, where the chain's SSV events are
 * followed, they wait until an owner has registered them.
 */

import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { readAsciiSync } from '@dvt-relayer/common/text-file.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import { findLockedKeys, storeKeyList, unlistKeys } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { Context } from '../../context.ts'

/** 100,000 keys with a few words each, three times. */
const MAX_BYTES = 64 << 20
/** Problems named in one message. */
const SHOWN = 10

/**
 * The keys of a file, in order: the first column of each line; empty lines, lines that begin with `#` and a head line `public_key`
 * are left out.
 *
 * @throws {BootError} PUBLIC_KEYS_INVALID naming every line that is no key, or a key that stands twice
 */
export function parseKeyList(text: string, file: string, isPublicKey: (key: Uint8Array) => boolean): Uint8Array[] {
  const lines = new Map<string, number>()
  const keys: Uint8Array[] = []
  const problems: string[] = []
  for (const [position, line] of text.split(/\r?\n/).entries()) {
    const column = (line.split(/[,;\t]/)[0] ?? '').trim().replace(/^"(.*)"$/, '$1')
    if (column === '' || column.startsWith('#') || /^public_?keys?$/i.test(column)) continue
    const key = parseHex(column, 48)
    if (key === undefined || !isPublicKey(key)) {
      problems.push(`line ${position + 1} is not a validator public key (hex of 48 bytes, a point of the group)`)
      continue
    }
    const first = lines.get(toHex(key))
    if (first !== undefined) problems.push(`line ${position + 1} repeats the key of line ${first}`)
    lines.set(toHex(key), position + 1)
    keys.push(key)
  }
  if (keys.length === 0 && problems.length === 0) problems.push('it holds no key')
  if (problems.length > 0)
    throw new BootError(
      'PUBLIC_KEYS_INVALID',
      `PUBLIC_KEYS_FILE ${file} is not valid:\n${problems
        .slice(0, SHOWN)
        .map((problem) => `  - ${problem}`)
        .join('\n')}${problems.length > SHOWN ? `\n  and ${problems.length - SHOWN} more` : ''}`,
    )
  return keys
}

/**
 * Makes the database's list what the file says; without a file nobody's. Workers hand nothing out and leave it alone.
 *
 * @throws {BootError} PUBLIC_KEYS_INVALID, THRESHOLD_UNKNOWN: nothing is changed then
 */
export async function importKeyList(
  { config, db, logger }: Pick<Context, 'config' | 'db' | 'logger'>,
  engine: Pick<BlsEngine, 'isPublicKey'>,
): Promise<void> {
  const { publicKeysFile: file, signatureThreshold } = config.clusters
  if (config.role === 'worker') return
  const keys = file === undefined ? [] : parseKeyList(read(file), file, (key) => engine.isPublicKey(key))
  await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    const locked = new Set((await findLockedKeys(tx, keys)).map((key) => toHex(key)))
    const uncovered = keys.filter((key) => !locked.has(toHex(key)))
    const isFollowed = config.ssv.owners.length > 0 && config.network.ssvNetwork !== undefined
    const isWaiting = signatureThreshold === undefined && isFollowed
    const own = isWaiting ? [] : uncovered
    if (isWaiting && uncovered.length > 0)
      logger.warn(
        { file, keys: uncovered.length },
        'public keys are in no cluster yet: they are handed out once the chain has their SSV registration',
      )
    const unlisted = await unlistKeys(tx, own)
    if (own.length > 0 && signatureThreshold === undefined)
      throw new BootError(
        'THRESHOLD_UNKNOWN',
        `PUBLIC_KEYS_FILE ${file}: ${own.length} of its keys are in no cluster lock and no SSV cluster, so SIGNATURE_THRESHOLD must say how many partial signatures make a full one`,
      )
    if (own.length > 0) await storeKeyList(tx, signatureThreshold ?? 0, own)
    if (keys.length + unlisted > 0)
      logger.info({ file, keys: keys.length, of_clusters: locked.size, unlisted }, 'public keys listed')
  })
}

function read(file: string): string {
  try {
    return readAsciiSync(file, MAX_BYTES)
  } catch (error) {
    throw new BootError('PUBLIC_KEYS_INVALID', `PUBLIC_KEYS_FILE ${file} cannot be read (${reasonOf(error)})`, {
      cause: error,
    })
  }
}
