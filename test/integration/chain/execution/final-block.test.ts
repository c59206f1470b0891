/** Which block counts as final: what is read up to it is never looked at again, so no node alone may push it. */

import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { getFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { expect, it, onTestFinished } from 'vitest'
import { type RpcStandIn, startRpc } from '../../../support/chain/rpc.ts'

const network = networks.hoodi
const [HEAD, FINAL] = [1_200_000, 1_199_900]

/** A node of the chain, and one that says that another block is final, as often as a test wants. */
async function startNode(finalized: number, head = HEAD): Promise<RpcStandIn> {
  const node = await startRpc({ chainId: network.chainId, head })
  onTestFinished(() => node[Symbol.asyncDispose]())
  node.finalized = finalized
  return node
}

function find(nodes: readonly RpcStandIn[], signal = AbortSignal.timeout(60_000)) {
  const execution = createExecutionClient({
    endpoints: nodes.map(({ url }) => url),
    // Longer than a test may take.
    timeoutMs: 600_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
  })
  return getFinalBlock(execution, network, 'nothing can be read', signal)
}

it('is what the other node says where one has one far above any head', async () => {
  const [liar, honest] = [await startNode(900_000_000, 900_000_000), await startNode(FINAL)]
  expect((await find([liar, honest]))?.number).toBe(FINAL)
  expect((await find([honest, liar]))?.number).toBe(FINAL)
})

it('is none while two nodes have another history each, and is there again by itself', async () => {
  for (const head of [HEAD, 900_000_000]) {
    const [liar, honest] = [await startNode(head, head), await startNode(FINAL)]
    liar.fork = { from: FINAL - 10, salt: 'C' }
    for (const nodes of [
      [liar, honest],
      [honest, liar],
    ])
      await expect(find(nodes)).rejects.toMatchObject({ code: 'EXECUTION_INVALID' })
    Object.assign(liar, { fork: undefined, head: HEAD, finalized: FINAL })
    expect((await find([liar, honest]))?.number).toBe(FINAL)
  }
})

it('is not held up by a node that is behind, away, or without one', async () => {
  const node = await startNode(FINAL)
  const behind = await startNode(FINAL - 50_000, FINAL - 40_000)
  expect((await find([node, behind]))?.number).toBe(FINAL)
  expect((await find([behind, node]))?.number).toBe(FINAL - 50_000)
  const away = await startNode(FINAL)
  away.fail('down')
  expect((await find([node, away]))?.number).toBe(FINAL)
  behind.finalized = null
  expect((await find([node, behind]))?.number).toBe(FINAL)
})

it('is asked for no longer than its time where a node answers nothing, not even which chain it is on', async () => {
  const [node, silent] = [await startNode(FINAL), await startNode(FINAL)]
  silent.fail('slow')
  const stop = new AbortController()
  const found = find([node, silent], stop.signal)
  found.catch(() => {})
  await expect.poll(() => silent.requests.length).toBeGreaterThan(0)
  stop.abort(new Error('that was all the time'))
  await expect(found).rejects.toThrow('that was all the time')
})

it('is believed of a single node', async () => {
  expect((await find([await startNode(FINAL)]))?.number).toBe(FINAL)
})
