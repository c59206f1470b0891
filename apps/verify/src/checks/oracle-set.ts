/** The oracle set that the caller gives, and whether shares were made for that one. */

import { checkContent, parseCid } from '@dvt-relayer/chain/ipfs/cid.ts'
import type { OracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { equalBytes, parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { signingRootOf } from '../exit-message.ts'
import type { ExitNetwork } from '../networks.ts'
import type { SetLabels, ShareSet } from '../read.ts'
import type { Facts } from '../verdicts.ts'

/** The config of the caller, what it is called on IPFS where that is known, and the receipt that somebody else has. */
export interface GivenSet {
  config: OracleConfig
  /** `--cid`. */
  cid: string | undefined
  /** The bytes of the config's file. */
  content: Uint8Array
}

export interface LabelFault {
  verdict: 'stale_set' | 'wrong_order'
  message: string
}

/** Whether two CIDs name the same block: the same text, or the same digest under the same codec. */
function isSameCid(a: string, b: string): boolean {
  const [one, other] = [parseCid(a), parseCid(b)]
  if (one === undefined || other === undefined) return a === b
  if (one.text === other.text) return true
  const { digest } = one
  return (
    digest !== undefined && other.digest !== undefined && one.codec === other.codec && equalBytes(digest, other.digest)
  )
}

/** Whether the config is the one that the shares name: by `--cid`, or because the file's bytes are what the CID stands for. */
export async function isNamedConfig({ cid, content }: GivenSet, labels: SetLabels): Promise<boolean> {
  if (labels.cid === undefined) return false
  if (cid !== undefined) return isSameCid(cid, labels.cid)
  const named = parseCid(labels.cid)
  return named !== undefined && (await checkContent(named, content)) === 'same'
}

const texts = (list: readonly Uint8Array[]): string[] => list.map((bytes) => toHex(bytes))

/** How the labels of shares contradict the config, undefined when they do not. */
export function findLabelFault({ config, cid }: GivenSet, labels: SetLabels): LabelFault | undefined {
  const n = config.oracles.length
  const stale = (message: string): LabelFault => ({ verdict: 'stale_set', message })
  if (cid !== undefined && labels.cid !== undefined && !isSameCid(cid, labels.cid))
    return stale(`the shares are of the oracle set ${labels.cid}, not of ${cid}`)
  if (labels.threshold !== undefined && labels.threshold !== config.threshold)
    return stale(`the shares are for a threshold of ${labels.threshold}, the config's is ${config.threshold}`)
  if (labels.oracles !== undefined && labels.oracles !== n)
    return stale(`the shares are for ${labels.oracles} oracles, the config has ${n}`)
  if (labels.addresses === undefined) return undefined
  const given = texts(config.oracles.map(({ address }) => parseHex(address) ?? new Uint8Array()))
  const told = texts(labels.addresses)
  const place = given.findIndex((address, i) => address !== told[i])
  if (place < 0 && given.length === told.length) return undefined
  if (given.toSorted().join() === told.toSorted().join())
    return { verdict: 'wrong_order', message: "the set's oracles stand in another order than those of the config" }
  return stale(
    told.length === n
      ? `at place ${place + 1} the set has the oracle ${told[place]}, the config ${given[place]}`
      : `the set names ${told.length} oracles, the config has ${n}`,
  )
}

/** The receipt of the set under this config and network; undefined when its lists do not have the config's length. */
export function receiptOf(config: OracleConfig, network: ExitNetwork, set: ShareSet): Uint8Array | undefined {
  const n = config.oracles.length
  if (set.publicKeyShares.length !== n || set.ciphertexts.length !== n) return undefined
  return shareReceipt({
    ...set.exit,
    signingRoot: signingRootOf(network, set.exit),
    threshold: config.threshold,
    oracles: config.oracles.map(({ publicKey }) => publicKey),
    publicKeyShares: set.publicKeyShares,
    ciphertexts: set.ciphertexts,
  })
}

/** The set in the words of facts. */
export const setFacts = ({ config, cid }: GivenSet, labels: SetLabels): Facts => ({
  threshold: config.threshold,
  oracles: config.oracles.length,
  ...(labels.cid === undefined && cid === undefined ? {} : { cid: labels.cid ?? cid ?? null }),
  ...(labels.isOutdated ? { is_outdated: true } : {}),
})
