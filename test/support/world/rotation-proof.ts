/**
 * What oracles can and cannot do with the shares of exits, old and new, proved by doing it: they decrypt with `eciesjs` and interpolate
 * with `@noble/curves`, from what lies on IPFS for everybody to read.
 */

import { setImmediate } from 'node:timers/promises'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { decrypt } from 'eciesjs'
import { expect } from 'vitest'
import { drawShares, type OpenedShare, openShares, rebuildExit } from '../../demo/actors/oracles.ts'
import { exitRoot } from '../../demo/chain/signing-roots.ts'
import type { SignatureSet } from '../oracle/keeper-log.ts'
import type { OracleSet } from './rotation-world.ts'

/** An accepted update, or registration, and the oracles whose shares it brought. */
export interface Accepted {
  set: OracleSet
  content: SignatureSet
}

const sharesOf = ({ validators }: SignatureSet, publicKey: string) => {
  const found = validators.find(({ public_key }) => public_key === publicKey)
  if (found === undefined) throw new Error(`there are no shares of ${publicKey}`)
  return { public_keys: found.public_key_shards, encrypted_exit_signatures: found.exit_signature_shards }
}
const rootOf = (network: Network, validatorIndex: number) =>
  exitRoot(network, { epoch: network.capellaEpoch, validatorIndex })

/** Every oracle opens its share; the threshold of them rebuild the exit of this index, one fewer do not. Returns the shares. */
export async function assertThresholdExits(
  network: Network,
  { set, content }: Accepted,
  publicKey: string,
  validatorIndex: number,
): Promise<OpenedShare[]> {
  const root = rootOf(network, validatorIndex)
  const opened = await openShares(set.oracles, sharesOf(content, publicKey), root)
  const key = fromHex(publicKey, 48)
  rebuildExit(drawShares(opened, set.threshold), root, key)
  expect(() => rebuildExit(drawShares(opened, set.threshold - 1), root, key)).toThrow('not valid')
  return opened
}

/**
 * Who was an oracle before learns nothing from new shares, and old and new shares do not go together:
 *
 * - those who left open none of the new shares, and no share of old is one of the new;
 * - old and new shares, fewer of each than their own threshold, rebuild nothing, however many they are together.
 */
export async function assertSeparate(
  network: Network,
  before: Accepted,
  after: Accepted,
  publicKey: string,
  validatorIndex: number,
): Promise<void> {
  const old = await assertThresholdExits(network, before, publicKey, validatorIndex)
  const fresh = await assertThresholdExits(network, after, publicKey, validatorIndex)
  const root = rootOf(network, validatorIndex)
  const key = fromHex(publicKey, 48)
  const { public_keys: keyShares, encrypted_exit_signatures: ciphertexts } = sharesOf(after.content, publicKey)
  // A signature verifies under one public key: what was an oracle's share is nobody's now.
  const common = new Set(sharesOf(before.content, publicKey).public_keys).intersection(new Set(keyShares))
  expect([...common]).toEqual([])

  const members = new Set(after.set.oracles.map(({ address }) => address))
  const leavers = before.set.oracles.filter(({ address }) => !members.has(address))
  expect(leavers.length).toBeGreaterThan(0)
  for (const { secretKey } of leavers)
    for (const ciphertext of ciphertexts) {
      // The stand-ins of the world live in this process and answer in between.
      await setImmediate()
      expect(() => decrypt(secretKey, fromHex(ciphertext, 193)), 'a leaver opens a new share').toThrow()
    }
  expect(() => rebuildExit(drawShares(old, leavers.length), root, key)).toThrow('not valid')

  const [most, mostFresh] = [before.set.threshold - 1, after.set.threshold - 1]
  for (const count of [most, Math.max(1, old.length - mostFresh), 1]) {
    const first = drawShares(old, count)
    const positions = new Set(first.map(({ x }) => x))
    const rest = fresh.filter(({ x }) => !positions.has(x)).slice(0, mostFresh)
    const mixed = [...first, ...rest]
    expect(mixed.length).toBeGreaterThanOrEqual(Math.min(before.set.threshold, after.set.threshold))
    // All of them, and just as many as either threshold says, some of both kinds.
    for (const size of new Set([mixed.length, before.set.threshold, after.set.threshold])) {
      await setImmediate()
      if (size > count && size <= mixed.length)
        expect(() => rebuildExit(mixed.slice(0, size), root, key), `${count} old of ${size}`).toThrow('not valid')
    }
  }
}
