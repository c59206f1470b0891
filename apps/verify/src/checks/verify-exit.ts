/** `verify-exit`: whether decrypted shares give the validator's exit. The only place where an exit signature exists in this program. */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey, addressOfSecretKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { decryptEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { ATTEMPTS_9_OF_13, type RecoverRequest, recoverSignature } from '@dvt-relayer/crypto/threshold/recover.ts'
import { type Claims, claimFault, type Exit, exitFacts, mistakenExits, signingRootOf } from '../exit-message.ts'
import type { ExitNetwork } from '../networks.ts'
import { type OwnerCopy, parseSignedExit, type SetLabels, type ShareSet, type SignedExit } from '../read.ts'
import type { Facts, Report, Verdict } from '../verdicts.ts'
import { findKeySharesFault } from './key-shares.ts'
import { findLabelFault, type GivenSet, setFacts } from './oracle-set.ts'
import { findCountFault } from './verify-set.ts'

/** What is known now, and the exit itself where there is one: apart from the report, so that it is printed by decision only. */
export interface ExitResult {
  report: Report<'verify-exit'>
  exit?: SignedExit
}

export interface ExitRequest {
  network: ExitNetwork
  given: GivenSet
  claims: Claims
  exit: Exit
  /** The whole set, where there is one: its ciphertexts are opened, its public key shares tell which shares are wrong. */
  set: ShareSet | undefined
  /** Oracles' keys, 32 bytes each. */
  secretKeys: readonly Uint8Array[]
  /** Decrypted shares by place, from 1. */
  shares: readonly { place: number; share: Uint8Array }[]
}

const NO_LABELS: SetLabels = {
  cid: undefined,
  threshold: undefined,
  oracles: undefined,
  addresses: undefined,
  isOutdated: false,
}

/** Opens each key's ciphertext of the set; keys that open none are named by their address. */
function openShares({ given, set, secretKeys }: ExitRequest) {
  const opened: { place: number; share: Uint8Array }[] = []
  const unopened: string[] = []
  for (const secretKey of secretKeys) {
    const address = checksumAddress(addressOfSecretKey(secretKey))
    const place = given.config.oracles.findIndex((oracle) => oracle.address === address) + 1
    try {
      opened.push({ place, share: decryptEcies(secretKey, set?.ciphertexts[place - 1] ?? new Uint8Array()) })
    } catch {
      unopened.push(
        place === 0 ? `${address}: not of the config` : `${address}: the ciphertext at place ${place} does not open`,
      )
    }
  }
  return { opened, unopened }
}

const places = (list: readonly { index: bigint }[]): number[] =>
  [...new Set(list.map(({ index }) => Number(index)))].sort((a, b) => a - b)

/** Judges the shares, and gives the exit where enough of them are right. */
export function verifyExit(engine: BlsEngine, request: ExitRequest): ExitResult {
  const { network, given, claims, exit, set } = request
  const { threshold } = given.config
  let facts: Facts = { ...exitFacts(network, exit), ...setFacts(given, set?.labels ?? NO_LABELS) }
  const against = (verdict: Verdict<'verify-exit'>, message: string): ExitResult => ({
    report: { verdict, message, facts },
  })
  const claim = claimFault(exit, claims)
  if (claim !== undefined) return against('wrong_message', claim)
  const stale =
    set === undefined ? undefined : (findLabelFault(given, set.labels)?.message ?? findCountFault({ given, set }))
  if (stale !== undefined) return against('stale_set', stale)

  const { opened, unopened } = openShares(request)
  const candidates = new Map<bigint, Uint8Array[]>()
  for (const { place, share } of [...opened, ...request.shares])
    candidates.set(BigInt(place), [...(candidates.get(BigInt(place)) ?? []), share])
  facts = { ...facts, shares: candidates.size, ...(unopened.length === 0 ? {} : { unopened }) }
  if (candidates.size < threshold)
    return against('not_enough', `there are shares of ${candidates.size} oracles; ${threshold} are needed`)

  const fault =
    set === undefined
      ? undefined
      : findKeySharesFault(engine, { ...exit, threshold, publicKeyShares: set.publicKeyShares })
  if (fault !== undefined) facts = { ...facts, set_verdict: fault.verdict }
  const recovery: RecoverRequest = {
    message: signingRootOf(network, exit),
    publicKey: exit.publicKey,
    threshold,
    candidates,
    maxAttempts: ATTEMPTS_9_OF_13,
    ...(set === undefined || fault !== undefined
      ? {}
      : { knownShares: new Map(set.publicKeyShares.map((point, i) => [BigInt(i + 1), point])) }),
  }
  const result = recoverSignature(engine, recovery)
  if (result.status === 'recovered') {
    const wrong = places(result.wrong)
    facts = { ...facts, right_places: [...result.right.keys()].map(Number).sort((a, b) => a - b), wrong_places: wrong }
    const but = wrong.length === 0 ? '' : `; the shares of places ${wrong.join(', ')} are wrong`
    const note = fault === undefined ? '' : `; the public key shares of the set are wrong: ${fault.message}`
    return {
      ...against('ok', `the shares give the exit, and it verifies under the validator key${but}${note}`),
      exit: { epoch: exit.epoch, validatorIndex: exit.validatorIndex, signature: result.signature },
    }
  }
  facts = { ...facts, wrong_places: places(result.wrong) }
  const mistaken = mistakenExits(network, exit).find(
    ({ root }) => recoverSignature(engine, { ...recovery, message: root, maxAttempts: 1 }).status === 'recovered',
  )
  if (mistaken !== undefined) return against('wrong_message', `the shares give another exit: ${mistaken.what}`)
  if (fault !== undefined) return against('set_invalid', `the shares do not give the exit, and ${fault.message}`)
  return against('wrong_shares', whyNotRecovered(places(result.wrong), candidates.size, threshold))
}

function whyNotRecovered(wrong: readonly number[], given: number, threshold: number): string {
  if (wrong.length === 0)
    return `no ${threshold} of the ${given} shares give the exit; which are wrong can be told with the whole set`
  return `the shares of places ${wrong.join(', ')} are wrong, and fewer than ${threshold} are left that may be right`
}

export interface OwnerCopyRequest {
  network: ExitNetwork
  claims: Claims
  copy: OwnerCopy
  /** The owner's secp256k1 key, 32 bytes. */
  secretKey: Uint8Array
}

const isKeyOf = (secretKey: Uint8Array, publicKey: Uint8Array): boolean =>
  equalBytes(addressOfSecretKey(secretKey), addressOfPublicKey(publicKey))

/** Opens an owner's copy and judges the exit in it. */
export function verifyOwnerCopy(engine: BlsEngine, request: OwnerCopyRequest): ExitResult {
  const { network, claims, copy, secretKey } = request
  const { publicKey } = copy
  let facts: Facts = { network: network.name, public_key: toHex(publicKey) }
  const against = (verdict: Verdict<'verify-exit'>, message: string): ExitResult => ({
    report: { verdict, message, facts },
  })
  if (copy.ownerPublicKey !== undefined && !isKeyOf(secretKey, copy.ownerPublicKey))
    return against('wrong_key', `the copy is encrypted to ${toHex(copy.ownerPublicKey)}, which is not your key`)
  let plaintext: Uint8Array
  try {
    plaintext = decryptEcies(secretKey, copy.ciphertext)
  } catch {
    return against('tampered', 'the key does not open the copy: it was altered, or encrypted to another key')
  }
  const signed = parseSignedExit(plaintext)
  if (signed === undefined)
    return against('not_an_exit', 'the copy opens, but what is in it is not a SignedVoluntaryExit')
  const exit: Exit = { publicKey, validatorIndex: signed.validatorIndex, epoch: signed.epoch }
  facts = exitFacts(network, exit)
  const told = { publicKey: undefined, validatorIndex: copy.validatorIndex, epoch: copy.epoch }
  const claim = claimFault(exit, told) ?? claimFault(exit, claims)
  if (claim !== undefined) return against('wrong_message', claim)
  if (engine.verify(publicKey, signingRootOf(network, exit), signed.signature))
    return { ...against('ok', 'the copy holds the exit, and it verifies under the validator key'), exit: signed }
  const mistaken = mistakenExits(network, exit).find(({ root }) => engine.verify(publicKey, root, signed.signature))
  return mistaken === undefined
    ? against('not_an_exit', 'the signature in the copy is not that of this validator on the exit it names')
    : against('wrong_message', `the copy holds another exit: ${mistaken.what}`)
}
