import { parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { AbiEvent, Hex } from 'viem'
import { decodeEventLog, encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import {
  operatorAddedEvent,
  readOperatorKeys,
  readSsvEvents,
  readSsvPart,
  validatorAddedEvent,
  validatorRemovedEvent,
} from './events.ts'

interface FixtureLog {
  topics: [Hex, ...Hex[]]
  data: Hex
}
type Made = Readonly<Record<string, unknown>>
const { operators } = readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }
const operatorKey = operators[0]?.public_key ?? ''
const contract = { address: new Uint8Array(20).fill(7), block: 5 }
const OWNER = `0x${'ab'.repeat(20)}`
const OWNER_TOPIC = `0x${'00'.repeat(12)}${'ab'.repeat(20)}`
const { signal } = new AbortController()

type Name = 'ValidatorAdded' | 'ValidatorRemoved' | 'OperatorAdded'
interface Query {
  event: { name: Name }
  address: Uint8Array
  topics?: unknown
  fromBlock: number
  toBlock: number
  signal?: AbortSignal
}
const at = (blockNumber: number, logIndex: number): [number, number] => [blockNumber, logIndex]
type Places = Partial<Record<Name, [blockNumber: number, logIndex: number][]>>

/** A node with logs at these places, in ranges of so many blocks; each range lacks logs that could not be decoded: 1, 2 and 4 by kind. */
function nodeWith(places: Places, { blocks = 1_000, publicKey = '0x' }: { blocks?: number; publicKey?: string } = {}) {
  const asked: Query[] = []
  const args = { owner: OWNER, publicKey, shares: '0x', operatorIds: [], operatorId: 9n }
  const undecodable = { OperatorAdded: 1, ValidatorAdded: 2, ValidatorRemoved: 4 }
  async function* scanLogs(query: Query) {
    asked.push(query)
    const { name } = query.event
    for (let fromBlock = query.fromBlock; fromBlock <= query.toBlock; fromBlock += blocks) {
      const toBlock = Math.min(query.toBlock, fromBlock + blocks - 1)
      const logs = (places[name] ?? [])
        .filter(([block]) => block >= fromBlock && block <= toBlock)
        .map(([blockNumber, logIndex]) => ({ blockNumber, logIndex, args }))
      yield { fromBlock, toBlock, logs, undecodable: undecodable[name] }
    }
  }
  return { node: { host: 'the node', scanLogs } as unknown as ExecutionClient, asked }
}

it.each([
  ['ssv/operator-added.json', [operatorAddedEvent]],
  ['ssv/validator-added.json', [validatorAddedEvent, validatorRemovedEvent]],
])('logs of the contract are what their events make: %s', (file, abi: AbiEvent[]) => {
  const logs = readFixtureJson(file) as FixtureLog[]
  expect(logs.length).toBeGreaterThan(0)
  for (const { topics, data } of logs) {
    const { eventName, args } = decodeEventLog({ abi, topics, data }) as { eventName: string; args: Made }
    const inputs = abi.find(({ name }) => name === eventName)?.inputs.filter(({ indexed }) => indexed !== true) ?? []
    expect(encodeEventTopics({ abi, eventName, args })).toEqual(topics)
    expect(
      encodeAbiParameters(
        inputs,
        inputs.map(({ name = '' }) => args[name]),
      ),
    ).toBe(data)
  }
})

describe('events of a range', () => {
  const places: Places = {
    OperatorAdded: [at(10, 7), at(12, 1)],
    ValidatorAdded: [at(10, 2), at(11, 0)],
    ValidatorRemoved: [at(10, 5), at(12, 0)],
  }
  const placeOf = ({ blockNumber, logIndex }: { blockNumber: number; logIndex: number }) => `${blockNumber}.${logIndex}`

  it('stand in the order of the chain, whatever their kind, and those that nobody can decode are counted', async () => {
    const [range, ...more] = await Array.fromAsync(readSsvEvents(nodeWith(places).node, contract, 5, 20))
    expect(range?.events.map(placeOf)).toEqual(['10.2', '10.5', '10.7', '11.0', '12.0', '12.1'])
    expect([range?.fromBlock, range?.toBlock, range?.undecodable, more.length]).toEqual([5, 20, 7, 0])
  })

  it('are read range by range, or all at once', async () => {
    const read = await Array.fromAsync(readSsvEvents(nodeWith(places, { blocks: 6 }).node, contract, 5, 15))
    expect(read.map(({ fromBlock, toBlock, events }) => [fromBlock, toBlock, events.map(placeOf)])).toEqual([
      [5, 10, ['10.2', '10.5', '10.7']],
      [11, 15, ['11.0', '12.0', '12.1']],
    ])
    const { node } = nodeWith(places, { blocks: 6 })
    const part = await readSsvPart(node, contract, { fromBlock: 5, toBlock: 15 }, undefined)
    expect([part.events.length, part.undecodable]).toEqual([6, 14])
  })

  it.each<[string, Places]>([
    ['of one kind', { OperatorAdded: [at(10, 3), at(10, 3)] }],
    ['of two kinds', { ValidatorAdded: [at(9, 3), at(10, 3)], ValidatorRemoved: [at(10, 3), at(11, 3)] }],
  ])('that stand at one place twice are refused: %s', async (_, twice) => {
    await expect(
      readSsvPart(nodeWith(twice).node, contract, { fromBlock: 5, toBlock: 15 }, undefined),
    ).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: 'the execution node at the node gives log 3 of block 10 twice',
    })
  })

  it('are asked for with the signal that ends it, where there is one', async () => {
    const part = { fromBlock: 5, toBlock: 15 }
    for (const stop of [signal, undefined]) {
      const { node, asked } = nodeWith({})
      await Array.fromAsync(readSsvEvents(node, contract, 5, 15, stop))
      await readSsvPart(node, contract, part, undefined, stop)
      await readOperatorKeys(node, contract, [9], 15, stop)
      expect(asked.map((query) => ('signal' in query ? query.signal : undefined))).toEqual(Array(7).fill(stop))
      expect(asked.every((query) => 'signal' in query === (stop !== undefined))).toBe(true)
    }
  })

  it('of validators are asked for by owner where owners are named, those of operators never', async () => {
    const { node, asked } = nodeWith({})
    await readSsvPart(node, contract, { fromBlock: 5, toBlock: 15 }, [OWNER])
    await readSsvPart(node, contract, { fromBlock: 5, toBlock: 15 }, undefined)
    expect(asked.map(({ event, topics }) => [event.name, topics])).toEqual([
      ['ValidatorAdded', [[OWNER_TOPIC]]],
      ['OperatorAdded', undefined],
      ['ValidatorRemoved', [[OWNER_TOPIC]]],
      ['ValidatorAdded', undefined],
      ['OperatorAdded', undefined],
      ['ValidatorRemoved', undefined],
    ])
  })
})

describe('the keys of operators', () => {
  it('are read from the first block on, those of others and those that are none left out', async () => {
    const publicKey = encodeAbiParameters([{ type: 'string' }], [operatorKey])
    const places: Places = { OperatorAdded: [at(10, 7)] }
    const { node, asked } = nodeWith(places, { publicKey })
    expect(await readOperatorKeys(node, contract, [9, 263], 15)).toEqual([
      { operatorId: 9, publicKey: parseOperatorPublicKey(operatorKey) },
    ])
    const topics = [['9', '107'].map((id) => `0x${id.padStart(64, '0')}`)]
    expect(asked).toEqual([{ address: contract.address, event: operatorAddedEvent, topics, fromBlock: 5, toBlock: 15 }])
    expect(await readOperatorKeys(nodeWith(places).node, contract, [9], 15)).toEqual([])
  })
})
