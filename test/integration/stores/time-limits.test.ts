/** A dependency that says nothing any more is told within seconds, whatever its own limits are, and all that waits for it. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeOracles } from '../../support/chain/oracles.ts'
import { type RpcProxy, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { untilOracleSet } from '../../support/world/nodes.ts'
import { startWorld, type World } from '../../support/world/world.ts'
import { threshold, untilReady } from './support.ts'

let world: World
let node: RpcProxy
beforeAll(async () => {
  world = await startWorld()
  node = await startRpcProxy(world.anvil)
})
afterAll(async () => {
  await node?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

it('an execution node that does not answer any more, though its limit is an hour', async () => {
  await using relayer = await world.startRelayer({
    ...threshold,
    EXECUTION_ENDPOINT: node.url,
    EXECUTION_TIMEOUT: '3600',
    EXECUTION_RETRY_TIMEOUT: '3600',
    SSV_OWNERS: `0x${'ab'.repeat(20)}`,
  })
  await untilOracleSet(relayer.url)
  await untilReady(relayer.url, 'execution', 'ok')
  await untilReady(relayer.url, 'ssv', 'ok')
  const over = Promise.withResolvers<void>()
  node.answer(async (call) => {
    await over.promise
    return call.node()
  })
  await untilReady(relayer.url, 'execution', /has not answered within 5( s|000 ms)$/)
  await untilReady(relayer.url, 'ssv', /^registrations of the SSV contract cannot be read: .*has not answered within 5/)
  over.resolve()
  node.answer(undefined)
  await untilReady(relayer.url, 'execution', 'ok')
  await untilReady(relayer.url, 'ssv', 'ok')
  expect(node.calls.length).toBeGreaterThan(0)
})

it('a consensus node that takes connections and says nothing', async () => {
  await using relayer = await world.startRelayer({
    ...threshold,
    CONSENSUS_TIMEOUT: '20',
    CONSENSUS_RETRY_TIMEOUT: '20',
  })
  await untilReady(relayer.url, 'consensus', 'ok')
  world.beacon.fail('slow')
  await untilReady(relayer.url, 'consensus', /has not answered within 5( s|000 ms)$/)
  world.beacon.fail(undefined)
  await untilReady(relayer.url, 'consensus', 'ok')
})

it('gateways that take connections and say nothing of the newest oracle config', async () => {
  await using relayer = await world.startRelayer({ ...threshold, IPFS_TIMEOUT: '20', IPFS_RETRY_TIMEOUT: '600' })
  await untilOracleSet(relayer.url)
  world.ipfs.fail('slow')
  await world.announce(makeOracles(4), 2)
  await untilReady(
    relayer.url,
    'oracle_set',
    /is not in force: no IPFS gateway has given it yet \(IPFS_FETCH_ENDPOINTS\)$/,
  )
  world.ipfs.fail(undefined)
  await untilReady(relayer.url, 'oracle_set', 'ok')
})
