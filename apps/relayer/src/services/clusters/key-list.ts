/**
 * PUBLIC_KEYS_FILE: validator public keys to hand out, one a line (generation 4), each with the vault that alone may have it, where the
 * line names one (both generations). A key that a cluster lock or an SSV cluster covers belongs to that cluster; the others make a cluster
 * of their own with SIGNATURE_THRESHOLD. Without it, where the chain's SSV events are followed, they wait until an owner has registered them.
 */

import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readAsciiSync } from '@dvt-relayer/common/files/text-file.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import {
  findListedElsewhere,
  findLockedKeys,
  lockListed,
  storeKeyList,
  storeListedVaults,
  unlistKeys,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { showAgain } from '../oracles/show-again.ts'

/** 100,000 keys with a few words each, three times. */
const MAX_BYTES = 64 << 20
/** Problems named in one message. */
const SHOWN = 10

/** A line of the file. */
interface ListedKey {
  publicKey: Uint8Array
  /** 20 bytes. */
  vault: Uint8Array | undefined
  line: number
}
type Owned = ListedKey & { vault: Uint8Array }
const isOwned = (key: ListedKey): key is Owned => key.vault !== undefined

/** What separates the columns of a line; where it is not there, blanks do. */
const SEPARATOR = /[,;\t]/
const HEAD = /^public_?keys?$/i
const HEAD_OF_VAULT = /^vault(_?address)?$/i
/** What is meant as an address, right or wrong. What else stands in a second column that no head calls a vault is a remark. */
const LIKE_AN_ADDRESS = /^0x|^[0-9a-f]{38,42}$/i

/**
 * The keys of a file, in order: the first column of each line. Its vault is what follows after a blank (`0x<key> 0x<vault>`), the second
 * column, or the one that a head line calls `vault`; under a head line that names none there are none. Empty lines, lines that begin with
 * `#` and a head line `public_key` are left out.
 *
 * @throws {BootError} PUBLIC_KEYS_INVALID naming every line that is no key, or no vault, or a key that stands twice
 */
export function parseKeyList(text: string, file: string, isPublicKey: (key: Uint8Array) => boolean): ListedKey[] {
  const lines = new Map<string, number>()
  const keys: ListedKey[] = []
  const problems: string[] = []
  let head: readonly string[] | undefined
  for (const [position, content] of text.split(/\r?\n/).entries()) {
    const line = position + 1
    const { columns, isCsv } = columnsOf(content)
    const [column = ''] = columns
    if (column === '' || column.startsWith('#')) continue
    if (HEAD.test(column)) {
      head = columns
      continue
    }
    const publicKey = parseHex(column, 48)
    if (publicKey === undefined || !isPublicKey(publicKey)) {
      problems.push(`line ${line} is not a validator public key (hex of 48 bytes, a point of the group)`)
      continue
    }
    const first = lines.get(toHex(publicKey))
    if (first !== undefined) problems.push(`line ${line} repeats the key of line ${first}`)
    lines.set(toHex(publicKey), line)
    const word = columns[isCsv && head !== undefined ? head.findIndex((name) => HEAD_OF_VAULT.test(name)) : 1] ?? ''
    const isMeant = word !== '' && (!isCsv || head !== undefined || LIKE_AN_ADDRESS.test(word))
    const vault = isMeant ? parseAddress(word) : undefined
    if (isMeant && vault === undefined)
      problems.push(`line ${line} names no vault after its key: 0x and 40 hex digits, their checksum right where mixed`)
    keys.push({ publicKey, vault, line })
  }
  if (keys.length === 0 && problems.length === 0) problems.push('it holds no key')
  refuse(file, problems)
  return keys
}

/** The columns of a line, without the quotes around them, and without what stands after a blank and `#`. */
function columnsOf(line: string): { columns: string[]; isCsv: boolean } {
  const content = line.trim().replace(/\s#.*$/, '')
  const isCsv = SEPARATOR.test(content)
  const columns = content.split(isCsv ? SEPARATOR : /\s+/)
  return { columns: columns.map((column) => column.trim().replace(/^"(.*)"$/, '$1')), isCsv }
}

/** @throws {BootError} PUBLIC_KEYS_INVALID where there are problems */
function refuse(file: string, problems: readonly string[]): void {
  if (problems.length === 0) return
  throw new BootError(
    'PUBLIC_KEYS_INVALID',
    `PUBLIC_KEYS_FILE ${file} is not valid:\n${problems
      .slice(0, SHOWN)
      .map((problem) => `  - ${problem}`)
      .join('\n')}${problems.length > SHOWN ? `\n  and ${problems.length - SHOWN} more` : ''}`,
  )
}

/**
 * Makes the database's list what the file says; without a file nobody's. Workers hand nothing out and leave it alone.
 *
 * @throws {BootError} PUBLIC_KEYS_INVALID, THRESHOLD_UNKNOWN: nothing is changed then
 */
export async function importKeyList(
  {
    config,
    db,
    logger,
  }: Pick<Context, 'db' | 'logger'> & {
    config: Pick<RelayerConfig, 'clusters' | 'role' | 'ssv' | 'network'>
  },
  engine: Pick<BlsEngine, 'isPublicKey'>,
): Promise<void> {
  const { publicKeysFile: file, signatureThreshold } = config.clusters
  if (config.role === 'worker') return
  const listed = file === undefined ? [] : parseKeyList(read(file), file, (key) => engine.isPublicKey(key))
  const keys = listed.map(({ publicKey }) => publicKey)
  await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    await lockListed(tx, keys)
    const changed = await storeVaults(tx, logger, file ?? '', listed.filter(isOwned))
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
    await showAgain(tx, changed)
  })
}

/**
 * Notes which vault alone may have each key. A lock that names another one is a mistake in one of the two; a deposit that is signed for
 * another one cannot be undone: nobody is given such a key. Returns the ids of the validators whose vault is another one now.
 */
async function storeVaults(
  tx: Sql,
  logger: Context['logger'],
  file: string,
  owned: readonly Owned[],
): Promise<number[]> {
  const changed = await storeListedVaults(tx, owned)
  const lineOf = new Map(owned.map(({ publicKey, line }) => [toHex(publicKey), line]))
  const elsewhere = await findListedElsewhere(tx, owned)
  const linesOf = (isLocked: boolean) =>
    elsewhere
      .filter((key) => key.isLocked === isLocked)
      .flatMap(({ publicKey }) => lineOf.get(toHex(publicKey)) ?? [])
      .toSorted((a, b) => a - b)
  refuse(
    file,
    linesOf(true).map((line) => `line ${line} names another vault than the cluster lock of its key`),
  )
  const bound = linesOf(false)
  if (bound.length > 0)
    logger.warn(
      { file, keys: bound.length, lines: bound.slice(0, SHOWN) },
      'public keys are listed for another vault than the one that a deposit was signed for: no vault is given them',
    )
  return changed
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
