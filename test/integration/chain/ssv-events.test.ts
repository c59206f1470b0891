import { createExecutionClient, type ExecutionOptions } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import {
  operatorAddedEvent,
  readSsvEvents,
  type SsvEvent,
  type SsvEventRange,
  validatorAddedEvent,
  validatorRemovedEvent,
} from '@dvt-relayer/chain/ssv/events.ts'
import {
  applySsvEvents,
  emptySsvState,
  liveRegistrations,
  operatorIdsOf,
  type SsvScope,
} from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { AbiEvent } from 'viem'
import { encodeAbiParameters, encodeEventTopics, toEventSelector } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { type Refusal, type StandInLog, startRpc } from '../../support/chain/rpc.ts'
import { readFixture, readFixtureJson } from '../../support/keys/fixtures.ts'
import { engine } from '../../support/world/nodes.ts'

interface Expected {
  contract: string
  topics: Record<string, string>
  operators: { id: number; public_key: string }[]
  events: {
    event: string
    block_number: number
    log_index: number
    owner: string
    operator_ids: number[]
    public_key: string
  }[]
  live_validators: { public_key: string; operator_ids: number[]; block_number: number; log_index: number }[]
}
interface RawLog extends Omit<StandInLog, 'blockNumber' | 'logIndex'> {
  blockNumber: string
  logIndex: string
}

const network = networks.hoodi
const contract = network.ssvNetwork ?? { address: new Uint8Array(), block: 0 }
const HEAD = 1_300_000
const expected = readFixtureJson('ssv/expected.json') as Expected
const logsOf = (file: string): StandInLog[] =>
  (readFixtureJson(file) as RawLog[]).map(({ address, topics, data, blockNumber, logIndex }) => ({
    address,
    topics,
    data,
    blockNumber: Number(blockNumber),
    logIndex: Number(logIndex),
  }))
const operatorLogs = logsOf('ssv/operator-added.json')
const logs = [...logsOf('ssv/validator-added.json'), ...operatorLogs]

function clientOf(nodes: readonly { url: string }[], options: Partial<ExecutionOptions> = {}) {
  return createExecutionClient({
    endpoints: nodes.map(({ url }) => url),
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
    ...options,
  })
}

async function readAll(client: ReturnType<typeof clientOf>): Promise<SsvEventRange[]> {
  return Array.fromAsync(readSsvEvents(client, contract, contract.block, HEAD))
}

/** An OperatorAdded log with any bytes as its key. */
function operatorLog(publicKey: `0x${string}`, operatorId = 7n, blockNumber = 3_000): StandInLog {
  const owner = `0x${'11'.repeat(20)}` as const
  const topics = encodeEventTopics({ abi: [operatorAddedEvent], args: { operatorId, owner } }) as string[]
  const data = encodeAbiParameters([{ type: 'bytes' }, { type: 'uint256' }], [publicKey, 1n])
  return { address: toHex(contract.address), topics, data, blockNumber, logIndex: 0 }
}
const wrap = (text: string) => encodeAbiParameters([{ type: 'string' }], [text])

describe('events of the SSV network contract', () => {
  it.each([operatorAddedEvent, validatorAddedEvent, validatorRemovedEvent] as AbiEvent[])(
    'have the topics of the contract: $name',
    (event) => {
      expect(toEventSelector(event)).toBe(expected.topics[event.name])
    },
  )

  it('are read in the order of the chain, and say what the contract said', async () => {
    await using node = await startRpc({ chainId: network.chainId, head: HEAD, logs: logs.toReversed() })
    const ranges = await readAll(clientOf([node]))
    const events = ranges.flatMap((range) => range.events)
    const positions = events.map(({ blockNumber, logIndex }) => blockNumber * 1_000 + logIndex)
    expect(positions).toEqual([...positions].sort((a, b) => a - b))
    expect(events).toHaveLength(logs.length)
    const operators = events.filter((event) => event.kind === 'operator_added')
    expect(operators.map(({ operatorId, publicKey }) => ({ operatorId, publicKey }))).toEqual(
      expected.operators.map(({ id, public_key }) => ({
        operatorId: id,
        publicKey: parseOperatorPublicKey(public_key),
      })),
    )
    const validators = events.filter((event) => event.kind !== 'operator_added')
    const brief = (event: Exclude<SsvEvent, { kind: 'operator_added' }>) => ({
      event: event.kind === 'validator_added' ? 'ValidatorAdded' : 'ValidatorRemoved',
      block_number: event.blockNumber,
      log_index: event.logIndex,
      owner: toHex(event.owner),
      public_key: toHex(event.publicKey),
    })
    expect(validators.map(brief)).toEqual(
      expected.events.map(({ event, block_number, log_index, owner, public_key }) => ({
        event,
        block_number,
        log_index,
        owner,
        public_key,
      })),
    )
    expect(validators.map((event) => (event.kind === 'validator_added' ? event.operatorIds : undefined))).toEqual(
      expected.events.map(({ event, operator_ids }) => (event === 'ValidatorAdded' ? operator_ids : undefined)),
    )
    const text = readFixture('ssv/cluster-7/keyshares.json')
    const [sharesOf7] = validators.filter((event) => event.kind === 'validator_added' && event.operatorIds.length === 7)
    expect(text).toContain(sharesOf7?.kind === 'validator_added' ? toHex(sharesOf7.shares) : 'none')
  })

  it.each([
    [undefined, 60],
    [{ blocks: 10_000, refusal: { code: -32005, message: 'query exceeds max block range' } }, 600],
    [{ blocks: 30_000, refusal: { status: 413 } }, 250],
  ] as [{ blocks: number; refusal: Refusal } | undefined, number][])(
    'give the live validators, without gaps, whatever the node allows (%j)',
    async (limit, mostRequests) => {
      await using node = await startRpc({ chainId: network.chainId, head: HEAD, logs })
      node.limit = limit
      const scope: SsvScope = { contract, owners: undefined, operators: undefined }
      let state = emptySsvState(scope)
      for await (const range of readSsvEvents(clientOf([node]), contract, contract.block, HEAD))
        state = (await applySsvEvents(engine, scope, state, range)).state
      expect(state.nextBlock).toBe(HEAD + 1)
      expect(
        liveRegistrations(state).map(({ publicKey, data, blockNumber, logIndex }) => ({
          public_key: toHex(publicKey),
          operator_ids: data.shares.map(({ operatorId }) => operatorId),
          block_number: blockNumber,
          log_index: logIndex,
        })),
      ).toEqual(
        expected.live_validators.map(({ public_key, operator_ids, block_number, log_index }) => ({
          public_key,
          operator_ids,
          block_number,
          log_index,
        })),
      )
      for (const { id, public_key } of expected.operators)
        expect(operatorIdsOf(state, parseOperatorPublicKey(public_key) ?? new Uint8Array())).toEqual([id])
      expect(node.ranges.length).toBeLessThan(mostRequests)
    },
  )

  it('are found at the second node when the first goes away, and waited for when both do', async () => {
    await using first = await startRpc({ chainId: network.chainId, head: HEAD, logs })
    await using second = await startRpc({ chainId: network.chainId, head: HEAD, logs })
    const client = clientOf([first, second], { retryTimeoutMs: 60_000 })
    let count = 0
    for await (const range of readSsvEvents(client, contract, contract.block, HEAD)) {
      first.fail('down')
      count += range.events.length
    }
    expect(count).toBe(logs.length)
    expect(second.ranges.length).toBeGreaterThan(0)
    second.fail('down')
    await expect(readAll(clientOf([first, second]))).rejects.toMatchObject({ name: 'HttpError' })
  })

  it('are given up when the signal says so', async () => {
    await using node = await startRpc({ chainId: network.chainId, head: HEAD, logs })
    const client = clientOf([node], { retryTimeoutMs: 60_000 })
    const stop = new AbortController()
    const events = readSsvEvents(client, contract, contract.block, HEAD, stop.signal)
    await events.next()
    node.fail('slow')
    const pending = events.next()
    stop.abort()
    await expect(pending).rejects.toMatchObject({ code: 'HTTP_ABORTED' })
  })

  it('that come twice are refused: they would count twice', async () => {
    const [log] = logs
    if (log === undefined) throw new Error('no log')
    await using node = await startRpc({ chainId: network.chainId, head: HEAD, logs: [log, log] })
    await expect(readAll(clientOf([node]))).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringMatching(/gives log 4 of block 1200100 twice/),
    })
  })

  it('of any content are no reason to stop', async () => {
    const [added] = logs
    const removed = logs.find(({ topics }) => topics[0] === expected.topics['ValidatorRemoved'])
    if (added === undefined || removed === undefined) throw new Error('no log')
    const cut = (log: StandInLog, logIndex: number) => ({ ...log, logIndex, data: log.data.slice(0, 202) })
    await using node = await startRpc({
      chainId: network.chainId,
      head: HEAD,
      logs: [cut(added, 100), cut(removed, 101), { ...operatorLog('0x'), data: '0x' }, added],
    })
    const ranges = await readAll(clientOf([node]))
    expect(ranges.flatMap(({ events }) => events)).toHaveLength(1)
    expect(ranges.reduce((sum, { undecodable }) => sum + undecodable, 0)).toBe(3)
  })
})

describe('an operator’s key', () => {
  const [operator] = expected.operators
  const text = operator?.public_key ?? ''
  const key = parseOperatorPublicKey(text)

  it.each([
    ['in one more layer', wrap(text), key],
    ['with a newline', wrap(`${text}\n`), key],
    ['without the layer', `0x${Buffer.from(text).toString('hex')}`, undefined],
    ['empty', '0x', undefined],
    ['of another text', wrap('hunter2'), undefined],
    ['of bytes that are no text', encodeAbiParameters([{ type: 'bytes' }], ['0xff']), undefined],
    ['longer than its bytes', `${wrap(text).slice(0, 66)}${'f'.repeat(64)}`, undefined],
    ['of noise', `0x${'ab'.repeat(99)}`, undefined],
  ] as [string, `0x${string}`, Uint8Array | undefined][])('%s', async (_, publicKey, read) => {
    await using node = await startRpc({ chainId: network.chainId, head: HEAD, logs: [operatorLog(publicKey)] })
    const events = (await readAll(clientOf([node]))).flatMap((range) => range.events)
    expect(events).toEqual([
      { kind: 'operator_added', blockNumber: 3_000, logIndex: 0, operatorId: 7, publicKey: read },
    ])
  })

  it('may belong to an id that is no safe number, which nobody’s is', async () => {
    await using node = await startRpc({
      chainId: network.chainId,
      head: HEAD,
      logs: [operatorLog(wrap(text), 2n ** 64n - 1n)],
    })
    const [event] = (await readAll(clientOf([node]))).flatMap((range) => range.events)
    expect(event?.kind === 'operator_added' && Number.isSafeInteger(event.operatorId)).toBe(false)
  })
})
