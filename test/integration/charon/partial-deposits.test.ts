/** `charon deposit sign` against a relayer with OBOL_API=on: what nobody has signed is verified before anything of it is kept. */

import type { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CryptoPool, startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { nextIndex, registerUntilReady } from '../../support/operator/operator.ts'
import { clusterFor, ETH32, openStage, registerKeys } from '../../support/stages/registrations.ts'
import { charonNode, depositBlob, exitSignAll, postDeposits } from '../../support/world/charon.ts'
import { getValidators } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, hex } from '../../support/world/world.ts'

let world: VaultWorld
let pool: CryptoPool

beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2 })
  pool = startCryptoPool(1)
})
afterAll(async () => {
  await pool?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** A vault whose cluster has asked for `count` validators. */
async function stage(count: number) {
  const vault = await world.deployVault()
  const cluster = await clusterFor(world, vault, { validators: count })
  const other = await clusterFor(world, vault, { validators: 1 })
  const { startRelayer, query } = await openStage(world)
  /** How many signatures were verified. */
  const verified: number[] = []
  const crypto: CryptoPool = {
    ...pool,
    verify: (triples) => {
      verified.push(triples.length)
      return pool.verify(triples)
    },
    [Symbol.asyncDispose]: async () => {},
  }
  const { url } = await startRelayer(
    { CLUSTER_LOCK_FILES: `${cluster.lockFile},${other.lockFile}`, OBOL_API: 'on' },
    { crypto },
  )
  const amounts = Array<number>(count).fill(ETH32)
  const request = { vault: vault.address, startIndex: nextIndex(world.beacon), amounts, type: '0x01' as const }
  const keys = await registerKeys(url, request)
  const nodes = cluster.nodes.map((files, position) => charonNode(files, position + 1, cluster.validators))
  const nodeOf = (shareIndex: number) => nodes[shareIndex - 1] ?? expect.fail('no such node')
  const deposit = {
    credentials: withdrawalCredentials('0x01', fromHex(vault.address, 20)),
    amountGwei: BigInt(ETH32),
  }
  const stored = async () =>
    (
      await query<{ state: string }>(
        `select p.state from partial_signatures p join messages m on m.id = p.message_id where m.kind = 'deposit' order by 1`,
      )
    ).map(({ state }) => state)
  return { url, request, keys, nodeOf, deposit, stored, verified, query, otherLock: other.lock.lockHash }
}
const refusalOf = ({ json }: { json: unknown }) => {
  const { code, message, failures } = json as ErrorResponse
  return { code, message, failures: (failures ?? []).map((failure) => `${failure.index} ${failure.code}`) }
}

describe.skipIf(skipWithoutAnvil)('partial deposits', () => {
  it('register a validator with the exits of the same nodes', async () => {
    const { url, request, keys, nodeOf, deposit } = await stage(1)
    const [key = ''] = keys
    for (const shareIndex of [1, 2, 4]) {
      const node = nodeOf(shareIndex)
      const blob = depositBlob(node, key, world.network, deposit)
      expect(await postDeposits(url, node, [blob])).toMatchObject({ status: 201, text: '{}' })
      expect(await postDeposits(url, node, [blob])).toMatchObject({ status: 201, text: '{}' })
      expect(await exitSignAll(url, node, world.network.capellaEpoch)).toMatchObject({ status: 201, text: '{}' })
    }
    const answer = await registerUntilReady(url, request)
    expect(answer.validators.map(({ public_key }) => public_key)).toEqual(keys)
  })

  it('count under the own share alone, and leave nothing where they do not', async () => {
    const { url, keys, nodeOf, deposit, stored } = await stage(2)
    const [key = '', other = ''] = keys
    const [mine, foreign] = [nodeOf(1), nodeOf(2)]
    const right = depositBlob(mine, key, world.network, deposit)
    const wrong = {
      'the share of another node': depositBlob(foreign, key, world.network, deposit),
      'another network': depositBlob(mine, key, { genesisForkVersion: new Uint8Array(4) }, deposit),
      'no point': { ...right, signature: `0x${'ab'.repeat(96)}` },
      'the signature of another validator': { ...right, pubkey: other },
    }
    for (const [name, blob] of Object.entries(wrong)) {
      const answer = await postDeposits(url, mine, [blob])
      expect(answer.status, name).toBe(422)
      expect(refusalOf(answer).failures, name).toEqual(['0 SIGNATURE_WRONG'])
    }
    expect(await stored()).toEqual([])
    const mixed = await postDeposits(url, mine, [
      wrong['no point'],
      depositBlob(mine, other, world.network, deposit),
      right,
    ])
    expect(refusalOf(mixed)).toMatchObject({ code: 'DEPOSITS_REFUSED', failures: ['0 SIGNATURE_WRONG'] })
    expect(refusalOf(mixed).message).toMatch(/^2 of 3 deposits taken; /)
    expect(await stored()).toEqual(['verified', 'verified'])
  })

  it('bind the key when they come late: such a signature never expires', async () => {
    const { url, keys, nodeOf, deposit, query } = await stage(1)
    const [key = ''] = keys
    await query(`update messages set state = 'expired'`)
    const blob = depositBlob(nodeOf(1), key, world.network, deposit)
    expect(await postDeposits(url, nodeOf(1), [blob])).toMatchObject({ status: 201 })
    expect(await query('select from deposit_bindings')).toHaveLength(1)
  })

  it('are held against the deposit that is asked for', async () => {
    const { url, keys, nodeOf, deposit, stored, otherLock } = await stage(1)
    const [key = ''] = keys
    const node = nodeOf(3)
    const others = [
      { ...deposit, amountGwei: 1_000_000_000n },
      { ...deposit, credentials: withdrawalCredentials('0x02', deposit.credentials.subarray(12)) },
      { ...deposit, credentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(7)) },
    ].map((one) => depositBlob(node, key, world.network, one))
    const answer = await postDeposits(url, node, others)
    expect(answer.status).toBe(422)
    const { failures, message } = refusalOf(answer)
    expect(failures).toEqual(['0 DEPOSIT_NOT_OPEN', '1 DEPOSIT_NOT_OPEN', '2 DEPOSIT_NOT_OPEN'])
    expect(message).toContain(`--deposit-amounts=32 --withdrawal-addresses=${hex(deposit.credentials)}, with`)
    const strange = { ...depositBlob(node, key, world.network, deposit), pubkey: `0x${'aa'.repeat(48)}` }
    expect(refusalOf(await postDeposits(url, node, [strange])).failures).toEqual(['0 KEY_NOT_IN_LOCK'])
    const right = depositBlob(node, key, world.network, deposit)
    const elsewhere = await postDeposits(url, { ...node, lockHash: otherLock }, [right])
    expect(refusalOf(elsewhere).failures).toEqual(['0 KEY_NOT_IN_LOCK'])
    expect(await stored()).toEqual([])
    expect((await getValidators(url))[0]?.share_indexes_ready).toEqual([])
  })

  it('cost a stranger a few verifications a request, whatever it sends', async () => {
    const { url, keys, nodeOf, deposit, verified } = await stage(1)
    const right = depositBlob(nodeOf(1), keys[0] ?? '', world.network, deposit)
    verified.length = 0
    const invented = Array.from({ length: 200 }, (_, i) => ({
      ...right,
      signature: `0x${i.toString(16).padStart(4, '0').repeat(48)}`,
    }))
    const answer = await postDeposits(url, nodeOf(1), invented)
    expect(answer.status).toBe(422)
    expect(refusalOf(answer).failures).toHaveLength(10)
    expect(refusalOf(answer).message).toContain('(and 199 more that were not taken)')
    expect(verified).toEqual([16])
  })

  it('are refused for an unknown lock, a node that it does not have, and a share index that is none', async () => {
    const { url, nodeOf } = await stage(1)
    const { lockHash } = nodeOf(1)
    const unknown = { status: 404, json: { code: 'LOCK_UNKNOWN' } }
    expect(await postDeposits(url, { lockHash: new Uint8Array(32), shareIndex: 1 }, [])).toMatchObject(unknown)
    expect(await postDeposits(url, { lockHash, shareIndex: 5 }, [])).toMatchObject(unknown)
    const invalid = { status: 422, json: { code: 'PATH_INVALID' } }
    expect(await postDeposits(url, { lockHash, shareIndex: 0 }, [])).toMatchObject(invalid)
    expect(await postDeposits(url, { lockHash, shareIndex: 1.5 }, [])).toMatchObject(invalid)
    const path = `/deposit_data/partial_deposits/0x${Buffer.from(lockHash).toString('hex')}/1`
    expect(await ask(url, path, { body: { partial_deposit_data: null } })).toMatchObject({ status: 201 })
    expect(await ask(url, path, { body: {} })).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
  })
})
