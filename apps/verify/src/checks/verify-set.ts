/** `verify-set`: whether public key shares share the validator key among the config's oracles, with exactly its threshold. */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { type Claims, claimFault, exitFacts } from '../exit-message.ts'
import type { ExitNetwork } from '../networks.ts'
import type { ShareSet } from '../read.ts'
import type { Facts, Report, Verdict } from '../verdicts.ts'
import { findKeySharesFault } from './key-shares.ts'
import { findLabelFault, type GivenSet, receiptOf, setFacts } from './oracle-set.ts'

export interface SetRequest {
  network: ExitNetwork
  given: GivenSet
  claims: Claims
  set: ShareSet
  /** `--receipt`: what somebody else has, besides the file's own. */
  receipt: Uint8Array | undefined
}

/** What is wrong with the receipts, undefined when they are right or there are none. */
export function findReceiptFault({ network, given, set, receipt }: SetRequest): string | undefined {
  const own = receiptOf(given.config, network, set)
  if (own === undefined) return undefined
  if (set.receipt !== undefined && !equalBytes(set.receipt, own))
    return `the receipt in the file is ${toHex(set.receipt)}, but this set under this config gives ${toHex(own)}`
  if (receipt !== undefined && !equalBytes(receipt, own))
    return `the receipt given is ${toHex(receipt)}, but this set under this config gives ${toHex(own)}`
  return undefined
}

/** Why the lists do not fit the number of oracles, undefined when they do. */
export function findCountFault({ given, set }: Pick<SetRequest, 'given' | 'set'>): string | undefined {
  const n = given.config.oracles.length
  if (set.publicKeyShares.length === n && set.ciphertexts.length === n) return undefined
  return `the set has ${set.publicKeyShares.length} public key shares and ${set.ciphertexts.length} ciphertexts, the config ${n} oracles`
}

/** Judges a whole set. Ciphertexts are not opened: that takes the oracles' keys. */
export function verifySet(engine: BlsEngine, request: SetRequest): Report<'verify-set'> {
  const { network, given, claims, set } = request
  const facts: Facts = { ...exitFacts(network, set.exit), ...setFacts(given, set.labels) }
  const against = (verdict: Verdict<'verify-set'>, message: string, more: Facts = {}) => ({
    verdict,
    message,
    facts: { ...facts, ...more },
  })
  const claim = claimFault(set.exit, claims)
  if (claim !== undefined) return against('wrong_message', claim)
  const label = findLabelFault(given, set.labels)
  if (label !== undefined) return against(label.verdict, label.message)
  const count = findCountFault(request)
  if (count !== undefined) return against('wrong_count', count)
  const { threshold } = given.config
  const fault = findKeySharesFault(engine, { ...set.exit, threshold, publicKeyShares: set.publicKeyShares })
  if (fault !== undefined) return against(fault.verdict, fault.message, { places: fault.places })
  const wrongReceipt = findReceiptFault(request)
  if (wrongReceipt !== undefined) return against('wrong_receipt', wrongReceipt)
  const n = given.config.oracles.length
  const compared = set.receipt !== undefined || request.receipt !== undefined
  const unchecked = ['whether each oracle can open its ciphertext: verify-share does, with its key']
  if (!compared) unchecked.push('the receipt: none was given to compare with')
  const message = `the public key shares of ${n} oracles share this validator's key: any ${threshold} of them give it, fewer do not`
  const receipt = receiptOf(given.config, network, set)
  return against('ok', message, { ...(receipt === undefined ? {} : { receipt: toHex(receipt) }), unchecked })
}
