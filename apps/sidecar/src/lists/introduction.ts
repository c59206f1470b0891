/** Whom the relayer takes us for (`GET /whoami`), and what of that cannot be right: said before anything is signed. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { MOST_COVERED, type Whoami } from '@dvt-relayer/api/schemas.ts'
import { finding } from '@dvt-relayer/common/findings.ts'
import type { SidecarConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { Finding } from '../findings.ts'

/** Nobody waits longer for an answer that older relayers do not have. */
const WAIT_MS = 5_000
/** A clock may be off by this much beside the time that question and answer took. */
const CLOCK_SECONDS = 5

/** What this sidecar has keys of. */
export interface Held {
  readonly shareIndexes: readonly number[]
  /** Of the cluster locks that were read: lower-case hex with `0x`. */
  readonly lockHashes: readonly string[]
  readonly isSsv: boolean
}

/** What cannot be right with this token at this relayer; nothing where it does not say enough. */
export function doubtsOf(who: Whoami, held: Held): string[] {
  const { role, binding, name } = who
  const isKey = who.identity === 'node_key' || who.identity === 'operator_key'
  const token = `the ${isKey ? 'key' : 'token'}${name === null ? '' : ` ${name}`}`
  if (role !== 'sidecar' && role !== 'admin')
    return [`${token} is one of the role ${role}, which may not sign: make one with --role sidecar`]
  const foreign = held.shareIndexes.filter((index) => binding.share_indexes?.includes(index) === false)
  if (foreign.length > 0)
    return [
      `${token} is bound to share index ${binding.share_indexes?.join(', ')}, and this sidecar signs for ${foreign.join(', ')}: it is the ${isKey ? 'key' : 'token'} of another node`,
    ]
  return unknownClusters(who, held)
}

/** Where the relayer has a list of keys, or takes any, a cluster it has not imported is nothing wrong. */
function unknownClusters({ clusters, takes_any_key: takesAny }: Whoami, held: Held): string[] {
  if (takesAny || clusters.length >= MOST_COVERED || clusters.some(({ source }) => source === 'list')) return []
  if (held.isSsv) {
    const known = new Set(clusters.flatMap(({ source, share_indexes: own }) => (source === 'ssv' ? own : [])))
    return held.shareIndexes
      .filter((index) => !known.has(index))
      .map((index) => `the relayer knows no SSV cluster of operator ${index} (SSV_OWNERS, SSV_KEYSHARES_FILES there)`)
  }
  const known = new Set(clusters.map(({ lock_hash: hash }) => hash))
  return held.lockHashes
    .filter((hash) => !known.has(hash))
    .map((hash) => `the relayer does not know the cluster lock ${hash.slice(0, 34)}… (CLUSTER_LOCK_FILES there)`)
}

/** What is wrong with one of the clocks, by the time the relayer said between question and answer (milliseconds). */
function clockDoubt(saidSeconds: number, askedMs: number, answeredMs: number): string | undefined {
  // Whole seconds, cut off.
  const ahead = Math.max(0, saidSeconds - answeredMs / 1000)
  const behind = Math.max(0, askedMs / 1000 - saidSeconds - 1)
  if (ahead <= CLOCK_SECONDS && behind <= CLOCK_SECONDS) return undefined
  const off = ahead > 0 ? `${Math.round(ahead)} s ahead of` : `${Math.round(behind)} s behind`
  return `the relayer's clock is ${off} this machine's: set both by NTP`
}

interface IntroductionParts {
  readonly config: Pick<SidecarConfig, 'relayer'>
  readonly relayer: Pick<RelayerClient, 'getWhoami'>
  readonly events: Pick<Events, 'found' | 'whoamiMissing'>
  readonly held: () => Held
}

/** Asks the relayer whom it takes us for, and tells what it found when that is new. A relayer that does not say is worked for as ever. */
export function createIntroduction({ config, relayer, events, held }: IntroductionParts) {
  let told: string | undefined
  const tell = (found: Finding): void => {
    const text = JSON.stringify(found)
    if (text !== told) events.found(found)
    told = text
  }
  return async (signal: AbortSignal): Promise<void> => {
    const askedMs = Date.now()
    try {
      const who = await relayer.getWhoami(AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]))
      const details = [...doubtsOf(who, held()), clockDoubt(who.time, askedMs, Date.now()) ?? []].flat()
      const message = `${config.relayer.endpoint.host} is dvt-relayer ${who.version} and takes us for ${who.name ?? 'anybody'} (${who.role})`
      tell(finding('relayer', details.length > 0 ? 'problem' : 'good', message, { details }))
    } catch (error) {
      if (!signal.aborted) events.whoamiMissing(error)
    }
  }
}
export type Introduction = ReturnType<typeof createIntroduction>
