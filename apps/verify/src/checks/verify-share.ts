/** `verify-share`: whether an oracle's ciphertext holds a true share of that validator's exit, under that oracle set. */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfSecretKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { decryptEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { type Claims, claimFault, type Exit, exitFacts, mistakenExits, signingRootOf } from '../exit-message.ts'
import type { ExitNetwork } from '../networks.ts'
import type { ShareItem, ShareSet } from '../read.ts'
import type { Facts, Report, Verdict } from '../verdicts.ts'
import { findKeySharesFault } from './key-shares.ts'
import { findLabelFault, type GivenSet, setFacts } from './oracle-set.ts'
import { findCountFault, findReceiptFault } from './verify-set.ts'

type ShareReport = Report<'verify-share'>
type Judgement = Omit<ShareReport, 'facts'> & { more?: Facts }

export interface ShareRequest {
  network: ExitNetwork
  given: GivenSet
  claims: Claims
  /** The oracle's secp256k1 key, 32 bytes. */
  secretKey: Uint8Array
  /** Whether the config is known to be the one that the shares name. */
  isNamedConfig: boolean
  /** `--receipt`. */
  receipt: Uint8Array | undefined
}

/** What the verdict is looked for with: the request, and what it says once keys and messages are worked out. */
interface Context extends ShareRequest {
  engine: BlsEngine
  exit: Exit
  root: Uint8Array
  /** The key's place in the config, from 1. */
  place: number
}

const against = (verdict: Verdict<'verify-share'>, message: string, more: Facts = {}): Judgement => ({
  verdict,
  message,
  more,
})

/** What the key opens, undefined when it does not. */
function open(secretKey: Uint8Array, ciphertext: Uint8Array | undefined): Uint8Array | undefined {
  try {
    return ciphertext === undefined ? undefined : decryptEcies(secretKey, ciphertext)
  } catch {
    return undefined
  }
}

const isAlone =
  'only one share was given: whether it belongs to this validator and fits those of the others can be told from the whole set alone'

/** Why a share does not verify under the public key share of its place. */
function whyNot(
  { engine, network, exit, root, place }: Context,
  share: Uint8Array,
  keys: readonly Uint8Array[],
  own: Uint8Array,
): Judgement {
  if (!engine.isSignature(share))
    return against('not_a_share', 'the ciphertext opens, but what is in it is no signature')
  const other = keys.findIndex((key) => !equalBytes(key, own) && engine.verify(key, root, share))
  if (other >= 0)
    return against('wrong_place', `this is a true share of place ${other + 1}, but your key stands at place ${place}`)
  const mistaken = mistakenExits(network, exit).find((candidate) => engine.verify(own, candidate.root, share))
  if (mistaken !== undefined) return against('wrong_message', `this is a share of another exit: ${mistaken.what}`)
  return against(
    'not_a_share',
    'the ciphertext opens, but the share in it does not verify under its public key share for this exit',
  )
}

/** The share at the key's own place could not be opened: it may stand elsewhere in the set. */
function lookElsewhere(context: Context, { publicKeyShares, ciphertexts }: ShareSet): Judgement {
  const { engine, secretKey, root, place, isNamedConfig } = context
  for (const [i, ciphertext] of ciphertexts.entries()) {
    const share = i + 1 === place ? undefined : open(secretKey, ciphertext)
    if (share === undefined) continue
    const belongs = publicKeyShares.findIndex((key) => engine.verify(key, root, share))
    // Whole and in itself right, for an order of oracles that is not the config's: another set, unless it says that it is this one.
    const verdict = belongs === i && !isNamedConfig ? 'stale_set' : 'wrong_place'
    const owner = belongs < 0 ? '' : `, and holds the share of place ${belongs + 1}`
    return against(
      verdict,
      `the ciphertext for your key stands at place ${i + 1}${owner}; the config has you at place ${place}`,
    )
  }
  return against(
    'tampered',
    `your key does not open the ciphertext at place ${place}, nor any other: it was altered, or the set was made for other keys`,
  )
}

/** What is left to the caller where the config's file is not what the CID of the shares stands for. */
const uncheckedConfig = ({ isNamedConfig }: Context, { labels }: ShareItem | ShareSet): string[] =>
  isNamedConfig || labels.cid === undefined
    ? []
    : [`whether the config is ${labels.cid}: give --cid, or the file as it lies on IPFS`]

function judgeSet(context: Context, set: ShareSet): Judgement {
  const { engine, given, network, place, secretKey, root, claims, receipt, isNamedConfig } = context
  const own = set.publicKeyShares[place - 1] ?? new Uint8Array()
  const share = open(secretKey, set.ciphertexts[place - 1])
  const { threshold } = given.config
  const fault = findKeySharesFault(engine, { ...set.exit, threshold, publicKeyShares: set.publicKeyShares })
  if (fault !== undefined) {
    const verifies = share !== undefined && engine.verify(own, root, share)
    const more = {
      set_verdict: fault.verdict,
      places: fault.places,
      share_opens: share !== undefined,
      share_verifies: verifies,
    }
    return against('set_invalid', fault.message, more)
  }
  if (share === undefined) return lookElsewhere(context, set)
  if (!engine.verify(own, root, share)) return whyNot(context, share, set.publicKeyShares, own)
  const receiptFault = findReceiptFault({ network, given, claims, set, receipt })
  if (receiptFault !== undefined) {
    const cause = 'the config is of another oracle set, or a part for another oracle was altered'
    return isNamedConfig || set.labels.addresses !== undefined
      ? against('wrong_receipt', `your share is true, but ${receiptFault}`)
      : against('stale_set', `your share is true, but ${receiptFault}: ${cause}`)
  }
  const unchecked = [
    ...uncheckedConfig(context, set),
    ...(set.receipt === undefined && receipt === undefined ? ['the receipt: none was given to compare with'] : []),
  ]
  return against(
    'ok',
    `this is a true share of the exit, of place ${place}, and the whole set fits the validator's key`,
    { unchecked },
  )
}

function judgeItem(context: Context, item: ShareItem): Judgement {
  const { engine, given, place, secretKey, root, exit, receipt } = context
  const named = item.place ?? place
  const { oracles, threshold } = given.config
  const share = open(secretKey, item.ciphertext)
  const verifies = share !== undefined && engine.verify(item.publicKeyShare, root, share)
  if (named !== place) {
    if (verifies)
      return against('wrong_place', `this is a true share of place ${named}, but your key stands at place ${place}`)
    if (share === undefined) {
      const owner = oracles[named - 1]?.address
      const whose = owner === undefined ? 'a place the config does not have' : `that of the oracle ${owner}`
      return against('wrong_key', `this is the share of place ${named}, ${whose}; your key stands at place ${place}`)
    }
  }
  if (share === undefined)
    return against('tampered', 'your key does not open the ciphertext: it was altered, or it was made for another key')
  // Of one share the public key share must be the key itself; of more it must not, or this oracle alone could end the validator.
  if (equalBytes(item.publicKeyShare, exit.publicKey) !== (threshold === 1)) {
    const message = threshold === 1 ? "is not the validator's key, with a threshold of 1" : "is the validator's own key"
    return against('set_invalid', `the public key share ${message}`, { share_opens: true, share_verifies: verifies })
  }
  if (!verifies) return whyNot(context, share, [], item.publicKeyShare)
  if (receipt !== undefined && item.receipt !== undefined && !equalBytes(receipt, item.receipt)) {
    const message = `your share is true, but its set is another: the receipt in the file is ${toHex(item.receipt)}, the one given ${toHex(receipt)}`
    return against('wrong_receipt', message)
  }
  const unchecked = [
    isAlone,
    ...uncheckedConfig(context, item),
    ...(item.receipt === undefined && receipt === undefined ? [] : ['the receipt: it is of the whole set']),
  ]
  return against('ok', `this is a true share of place ${place}, under the public key share that came with it`, {
    unchecked,
  })
}

/** What speaks against the share before it is opened. */
function judgeLabels({ given, claims, exit, place }: Context, source: ShareItem | ShareSet): Judgement | undefined {
  const label = findLabelFault(given, source.labels)
  if (label !== undefined) return against('stale_set', label.message)
  const count = 'ciphertexts' in source ? findCountFault({ given, set: source }) : undefined
  if (count !== undefined) return against('stale_set', count)
  if (place === 0)
    return against('wrong_key', `your key is that of none of the config's ${given.config.oracles.length} oracles`)
  const claim = claimFault(exit, claims)
  return claim === undefined ? undefined : against('wrong_message', claim)
}

/** Judges an item of one oracle, or that oracle's part of a whole set and the set with it. */
export function verifyShare(engine: BlsEngine, request: ShareRequest, source: ShareItem | ShareSet): ShareReport {
  const { network, given, secretKey } = request
  const { exit, labels } = source
  const address = checksumAddress(addressOfSecretKey(secretKey))
  const place = given.config.oracles.findIndex((oracle) => oracle.address === address) + 1
  const context: Context = { ...request, engine, exit, root: signingRootOf(network, exit), place }
  const { verdict, message, more } =
    judgeLabels(context, source) ?? ('ciphertexts' in source ? judgeSet(context, source) : judgeItem(context, source))
  const own: Facts = { oracle: address, place: place === 0 ? null : place, config_is_named: request.isNamedConfig }
  return { verdict, message, facts: { ...exitFacts(network, exit), ...setFacts(given, labels), ...own, ...more } }
}
