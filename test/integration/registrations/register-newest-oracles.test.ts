/** Registrations in the seconds between an announced oracle config and its adoption: nothing is signed for oracles that are gone. */

import { configUpdatedEvent } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { toEventSelector } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { RpcRefusal, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import {
  isReady,
  nextIndex,
  type RegisterAnswer,
  register,
  registerUntilReady,
} from '../../support/operator/operator.ts'
import { askRegister, clusterFor, ETH32, openStage, signAll } from '../../support/stages/registrations.ts'
import { assertOraclesCanExit } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

/** No round comes after the first one: only a request finds what was announced meanwhile. */
const NEVER_MS = 2 ** 30

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 5, threshold: 3 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** A registration that is ready, of a relayer that looks for oracle configs at its start alone. */
async function setUpReady(settings: Record<string, string> = {}) {
  const vault = await world.deployVault()
  const cluster = await clusterFor(world, vault, { validators: 1 })
  const stage = await openStage(world)
  const relayer = await stage.startRelayer(
    { CLUSTER_LOCK_FILES: cluster.lockFile, ...settings },
    { intervalsMs: { registry: 500, finishing: 500, sweep: 500, 'oracle set': NEVER_MS } },
  )
  const { url } = relayer
  const request = { vault: vault.address, startIndex: nextIndex(world.beacon), amounts: [ETH32], type: '0x01' as const }
  await register(url, request)
  await signAll(world, url, cluster.validators)
  return { url, request, ready: await registerUntilReady(url, request) }
}

const sharesOf = ({ validators: [validator] }: RegisterAnswer) => validator?.oracles_exit_signature_shares ?? undefined

describe.skipIf(skipWithoutAnvil)('a new oracle config', () => {
  it('is adopted by the next request that would be answered, and nothing is signed for the oracles before', async () => {
    const { url, request, ready } = await setUpReady()
    const oracles = makeOracles(4)
    await world.announce(oracles, 2)
    const answer = await register(url, request)
    expect(isReady(answer)).toBe(false)
    expect(answer.validators_manager_signature).toBeNull()
    expect(sharesOf(answer)).toBeUndefined()
    // Split anew for the new ones, whether anybody looks for them or not.
    const next = await registerUntilReady(url, request)
    const [validator] = next.validators
    const shares = sharesOf(next)
    if (validator === undefined || shares === undefined) throw new Error('it is not ready')
    expect(shares).not.toEqual(sharesOf(ready))
    await assertOraclesCanExit(world.network, oracles, 2, fromHex(validator.public_key, 48), request.startIndex, shares)
  })

  it('that cannot be had yet holds the answer up until it can', async () => {
    const { url, request } = await setUpReady()
    const oracles = makeOracles(3)
    const config = oracleConfig(oracles, 2)
    world.ipfs.fail('down')
    onTestFinished(() => world.ipfs.fail(undefined))
    await world.keeper.setConfig(world.ipfs.add(config))
    const answer = await askRegister(url, request)
    expect(answer).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
    expect(answer.text).not.toMatch(/signature"/)
    world.ipfs.fail(undefined)
    const next = await eventually('an answer for the new oracles', async () => {
      const now = await askRegister(url, request)
      return now.status === 200 && isReady(now.json as RegisterAnswer) ? (now.json as RegisterAnswer) : undefined
    })
    expect(sharesOf(next)?.public_keys).toHaveLength(3)
  })

  it('is asked for at each poll, when all else is known of the block, by the head alone where that was looked at', async () => {
    await using proxy = await startRpcProxy(world.anvil)
    const { url, request, ready } = await setUpReady({ EXECUTION_ENDPOINT: proxy.url })
    const methods = async () => {
      proxy.calls.length = 0
      expect(await register(url, request)).toEqual(ready)
      return proxy.calls.map(({ method, params: [of] }) => [
        method,
        JSON.stringify(of ?? null).includes(configUpdated) ? 'config' : '',
      ])
    }
    const configUpdated = toEventSelector(configUpdatedEvent)
    await methods()
    // The newest block, for all that is read at one, and again when that is read. Of other rounds of the relayer there may be some beside.
    const again = await methods()
    expect(again.filter(([method]) => method === 'eth_getBlockByNumber').length).toBeGreaterThanOrEqual(2)
    expect(again[0]).toEqual(['eth_getBlockByNumber', ''])
    expect(again).not.toContainEqual(['eth_getLogs', 'config'])
    expect(again.map(([method]) => method)).not.toContain('eth_call')
    expect(again.map(([method]) => method)).not.toContain('eth_getCode')
    // A new block may have another config, and another manager.
    await world.anvil.rpc('evm_mine')
    const next = await methods()
    expect(next).toContainEqual(['eth_getLogs', 'config'])
    expect(next.map(([method]) => method)).toContain('eth_call')
  })

  it('holds the answer up while the chain cannot be asked for it', async () => {
    await using proxy = await startRpcProxy(world.anvil)
    const { url, request, ready } = await setUpReady({ EXECUTION_ENDPOINT: proxy.url, EXECUTION_RETRY_TIMEOUT: '1' })
    const keeper = toHex(world.network.keeper)
    proxy.answer(({ method, params: [query], node }) => {
      if (method === 'eth_getLogs' && JSON.stringify(query).toLowerCase().includes(keeper))
        throw new RpcRefusal(-32005, 'request rate limited')
      return node()
    })
    await world.anvil.rpc('evm_mine')
    expect(await askRegister(url, request)).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
    proxy.answer(undefined)
    expect(await registerUntilReady(url, request)).toEqual(ready)
  })
})
