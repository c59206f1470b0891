/**
 * A process that holds the keys of one node of a fixture cluster and lies in generation 4: wrong exits and deposits of many kinds,
 * what it signed before, forged public key shares, all of it also in the names of the other nodes. It never gives the right deposit,
 * so its share index is never ready. What it makes up it prints, so that a test knows what must not stand in any log.
 */

import { randomBytes, randomInt } from 'node:crypto'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { matchShares, openShares } from '../keys/fixture-shares.ts'
import { type FixtureClusterName, loadFixtureCluster } from '../keys/fixtures.ts'
import { createTestKeys } from '../keys/keys.ts'
import { engine, type PostedPair, postPairs, signedPair } from '../world/nodes.ts'
import { ask } from '../world/world.ts'

/** Between two rounds. */
const ROUND_MS = 200
const OWN_VAULT = `0x${'66'.repeat(20)}`
/** The point at infinity: no signature of anything. */
const INFINITY = `0xc0${'00'.repeat(95)}`

const { RELAYER_ENDPOINT: url = '', NETWORK = '', CLUSTER = '', SHARE_INDEX = '' } = process.env
const network = parseNetwork(NETWORK)
const { nodes, expected } = loadFixtureCluster(CLUSTER as FixtureClusterName)
const own = Number(SHARE_INDEX)
const others = nodes.map((_, position) => position + 1).filter((index) => index !== own)
const secrets = await openShares(nodes[own - 1]?.keystoresDir ?? '')
const validators = new Map(
  matchShares(expected, secrets).map((validator) => [
    toHex(validator.publicKey) as string,
    { ...validator, secretKey: new Uint8Array(32) },
  ]),
)
/** What it signed for each key and another index than the one wanted now, the right answer to an old question. */
const signed = new Map<string, { item: ValidatorItem; pair: PostedPair }[]>()
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())

function madeUp(): string {
  const signature = toHex(engine.sign(randomBytes(32).fill(0, 0, 1), randomBytes(32)))
  console.log(signature)
  return signature
}

/** Public key shares of a polynomial of its own. */
function forgedShares(): NonNullable<PostedPair['public_key_shares']> {
  const [stranger] = createTestKeys(1, { nodes: nodes.length, threshold: 3 })
  return (stranger?.shares ?? []).map(({ index, publicKey }) => ({
    share_index: Number(index),
    public_key_share: toHex(publicKey),
  }))
}

/** The right signatures of this node, and several ways to do wrong with them. */
function lies(item: ValidatorItem): PostedPair[] {
  const validator = validators.get(item.public_key)
  if (validator === undefined) return []
  const sign = (change: Partial<ValidatorItem>) => signedPair(network, validator, own, { ...item, ...change }, false)
  const right = sign({})
  const past = signed.get(item.public_key) ?? []
  if (past.at(-1)?.item.validator_index !== item.validator_index)
    signed.set(item.public_key, [...past, { item, pair: right }])
  const old = past.find((one) => one.item.validator_index !== item.validator_index)
  return [
    { ...right, exit_signature: madeUp(), deposit_signature: madeUp(), public_key_shares: forgedShares() },
    {
      ...right,
      // Of a deposit that the cluster's lock has signed (32 ETH of type 0x01) the exit alone would be all that is wanted.
      ...(item.validator_type === '0x01' && { exit_signature: madeUp() }),
      deposit_signature: sign({ vault: OWN_VAULT }).deposit_signature,
      public_key_shares: forgedShares(),
    },
    {
      ...sign({ validator_index: item.validator_index + 1 }),
      deposit_signature: sign({ amount: item.amount + 1 }).deposit_signature,
    },
    {
      ...right,
      exit_signature: right.deposit_signature,
      deposit_signature: right.exit_signature,
      public_key_shares: null,
    },
    { ...right, exit_signature: INFINITY, deposit_signature: right.deposit_signature.slice(0, -2) },
    ...(old === undefined ? [] : [{ ...old.pair, deposit_signature: old.pair.exit_signature }]),
  ]
}

async function round(): Promise<void> {
  const { json } = await ask(url, routes.getValidators.path, { signal: stopping.signal })
  const items = (json as { validators: ValidatorItem[] }).validators
  const posts = items.flatMap((item) => {
    const all = lies(item)
    return all.length === 0 ? [] : [all[randomInt(all.length)] as PostedPair]
  })
  if (posts.length === 0) return
  await postPairs(url, own, posts)
  // Right under its own index, so wrong under every other; and indexes that nobody has.
  for (const index of [...others, nodes.length + 1, 0]) await postPairs(url, index, posts)
}

while (!stopping.signal.aborted) {
  // A relayer that is down is lied to when it is back.
  await round().catch(() => {})
  await pause(ROUND_MS, stopping.signal)
}
