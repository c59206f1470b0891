import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { findNewestConfig } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { expect, test } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type EvmNode, startEvmNode, startEvmStandIn } from './evm-node.ts'

async function announced(node: EvmNode): Promise<(string | undefined)[]> {
  const execution = createExecutionClient({
    endpoints: [node.url],
    timeoutMs: 60_000,
    retryTimeoutMs: 5000,
    network: networks.hoodi,
  })
  await execution.checkChain()
  const newest = async () => (await findNewestConfig(execution, networks.hoodi)).config?.cid
  const seen = [await newest()]
  for (const cid of ['QmFirst', 'QmSecond']) {
    await node.announce(cid)
    seen.push(await newest())
  }
  return seen
}

const expected = [undefined, 'QmFirst', 'QmSecond']

test.skipIf(skipWithoutAnvil)('the EVM node tells the relayer of oracle configs', async () => {
  await using node = await startEvmNode(networks.hoodi)
  expect(node.kind).toBe('anvil')
  expect(await announced(node)).toEqual(expected)
})

test('the stand-in for platforms without one does likewise', async () => {
  await using node = await startEvmStandIn(networks.hoodi)
  expect(await announced(node)).toEqual(expected)
})
