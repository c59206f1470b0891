/** Key shares of SSV validators from keyshares files, with the proofs of a DKG where they are given (docs/protocol.md#12-ssv). */

import { setImmediate } from 'node:timers/promises'
import {
  asBootError,
  checkProofs,
  type FileItem,
  findProofsFiles,
  listKeysharesFiles,
  readKeysharesFile,
} from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import type { BootError } from '@dvt-relayer/common/errors.ts'
import { stampOf } from '@dvt-relayer/common/files/file-stamp.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { type KeysharesItem, verifyKeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import type { SsvSources } from '../../config/ssv.ts'
import type { Events } from '../../events.ts'
import { type OperatorRef, ownPosition } from './operator-ref.ts'

export interface SsvFilesOptions {
  sources: Pick<SsvSources, 'keysharesFiles' | 'proofsFiles' | 'owners'>
  operators: readonly OperatorRef[]
  engine: BlsEngine
  events: Pick<Events, 'keysharesRead'>
}

/** What a file held when it was last whole. */
interface Known {
  /** Of the file and its proofs; whatever else is written into them makes another one. */
  readonly stamp: string
  /** Those that one of our operators has a share of: verified, and proven where there are proofs. */
  readonly items: readonly KeysharesItem[]
  /** Those that none of our operators has a share of: not verified. */
  readonly others: readonly KeysharesItem[]
}

/** Creates a reader that reads a file again only when it has changed. */
export function createSsvFiles({ sources, operators, engine, events }: SsvFilesOptions) {
  let known: ReadonlyMap<string, Known> = new Map()
  /** By entry of the setting: the files that it named when it could be read. */
  const listed = new Map<string, readonly string[]>()

  async function load(file: string, proofsFiles: readonly string[], stamp: string): Promise<Known> {
    const all = await readKeysharesFile(file)
    const isOwned = ({ ownerAddress }: KeysharesItem) =>
      sources.owners.length === 0 || sources.owners.some((owner) => equalBytes(owner, ownerAddress))
    const isOurs = (item: KeysharesItem) => operators.some((operator) => ownPosition(item, operator) !== undefined)
    const ours = all.filter(isOurs)
    const items = ours.filter(isOwned)
    for (const item of items) {
      verifyKeysharesItem(engine, item, { file })
      await setImmediate()
    }
    await checkProofs(items, proofsFiles)
    events.keysharesRead(file, {
      validators: all.length,
      ours: ours.length,
      otherOwners: ours.length - items.length,
      isProven: proofsFiles.length > 0,
    })
    return { stamp, items, others: all.filter((item) => !isOurs(item)) }
  }

  /** Whether the same owner has split the validator key again later: among other operators as a rule. */
  function isSuperseded({ item }: FileItem, all: ReadonlyMap<string, readonly KeysharesItem[]>): boolean {
    const later = (all.get(validatorOf(item)) ?? []).filter(({ ownerNonce }) => ownerNonce > item.ownerNonce)
    return later.some((other) => {
      try {
        verifyKeysharesItem(engine, other, { file: '' })
        return true
      } catch {
        // What is not the owner's word takes nothing away.
        return false
      }
    })
  }

  async function refresh(file: string): Promise<Known> {
    const proofs = findProofsFiles(file, sources.proofsFiles)
    const stamps = await Promise.all([file, ...proofs].map(async (name) => `${name}:${await stampOf(name)}`))
    const stamp = stamps.join()
    const before = known.get(file)
    return before?.stamp === stamp ? before : load(file, proofs, stamp)
  }

  return {
    /**
     * What the files hold now, files in the order of the setting.
     *
     * @returns `problems`: files that are broken or missing; what they held before stays in `items`
     */
    async read(): Promise<{ items: FileItem[]; problems: BootError[] }> {
      const next = new Map<string, Known>()
      const problems: BootError[] = []
      for (const path of sources.keysharesFiles) {
        const keep = (file: string, error?: unknown) => {
          if (error !== undefined) problems.push(asBootError(error))
          const before = known.get(file)
          if (before !== undefined) next.set(file, before)
        }
        try {
          listed.set(path, await listKeysharesFiles(path))
        } catch (error) {
          problems.push(asBootError(error))
          for (const file of listed.get(path) ?? []) keep(file)
          continue
        }
        for (const file of listed.get(path) ?? [])
          await refresh(file).then(
            (found) => next.set(file, found),
            (error) => keep(file, error),
          )
      }
      known = next
      const items = Array.from(next, ([file, { items }]) => items.map((item) => ({ file, item }))).flat()
      const all = [...next.values()].flatMap((one) => [...one.items, ...one.others])
      const byValidator = Map.groupBy(all, validatorOf)
      return { items: items.filter((item) => !isSuperseded(item, byValidator)), problems }
    },
  }
}

/** What is registered: a validator key of an owner. */
const validatorOf = ({ ownerAddress, publicKey }: KeysharesItem): string => `${toHex(ownerAddress)}:${toHex(publicKey)}`
