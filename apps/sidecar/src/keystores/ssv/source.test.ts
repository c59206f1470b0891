import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { parseSsvState } from '@dvt-relayer/chain/ssv/checkpoint.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { StandInLog } from '../../../../../test/support/chain/rpc.ts'
import { readFixtureJson } from '../../../../../test/support/keys/fixtures.ts'
import {
  keysharesJson,
  type MadeOperator,
  makeOperators,
  makeSsvValidators,
  operatorAddedLog,
  operatorFiles,
  SSV_CONTRACT,
  validatorAddedLog,
} from '../../../../../test/support/keys/ssv.ts'
import type { OperatorRef } from './operator-ref.ts'
import { createSsvSource } from './source.ts'
import { openSsvKeystore } from './ssv.ts'

const engine = createBlstEngine()
const { signal } = new AbortController()
const contract = { address: fromHex(SSV_CONTRACT, 20), block: 100 }
const network = { ...networks.hoodi, ssvNetwork: contract }
const events = new Proxy({}, { get: () => () => undefined }) as never
const OWNER = `0x${'a2'.repeat(20)}`

const texts = (readFixtureJson('ssv/expected.json') as { operators: { public_key: string }[] }).operators.map(
  ({ public_key }) => public_key,
)
const keyAt = (position: number) => parseOperatorPublicKey(texts[position] ?? '') ?? new Uint8Array()
/** The operators of the contract; 1 and 5 have one key. */
const operators: MadeOperator[] = [0, 1, 2, 3, 0].map((position, at) => ({
  ...{ id: at + 1, keyFile: '', publicKeyText: texts[position] ?? '', encrypt: () => new Uint8Array(256) },
}))
const [one, two] = [operators.slice(0, 4), operators.slice(1)].flatMap((some, firstNonce) =>
  makeSsvValidators(1, some, { owner: OWNER, firstNonce }),
)
if (one === undefined || two === undefined) throw new Error('no validators')
const validators = [one, two]
const OPERATOR_LOGS = operators.map((operator, position) => operatorAddedLog(operator, 101, position))
const LOGS = [...OPERATOR_LOGS, ...validators.map((validator, position) => validatorAddedLog(validator, 102, position))]

/** What answers in place of an execution node, which every client asks through `fetch`. */
const node = { logs: [] as StandInLog[], chainId: 0, isAway: false, asked: [] as string[], fault: '' }
const quantity = (value: number) => `0x${value.toString(16)}`

function answer(method: string, [first]: unknown[]): unknown {
  if (method === 'eth_chainId') return quantity(node.chainId)
  if (method === 'eth_blockNumber') return quantity(110)
  if (method === 'eth_getLogs') {
    const { fromBlock, toBlock, topics } = first as { fromBlock: string; toBlock: string; topics: unknown[] }
    return node.logs
      .filter(({ blockNumber }) => blockNumber >= Number(fromBlock) && blockNumber <= Number(toBlock))
      .filter((log) => [topics[0]].flat().includes(log.topics[0]))
      .map((log) => ({
        ...{ ...log, blockNumber: quantity(log.blockNumber), logIndex: quantity(log.logIndex) },
        ...{ transactionHash: `0x${'00'.repeat(32)}`, removed: false },
      }))
  }
  const number = first === 'latest' ? 110 : first === 'finalized' ? 105 : Number(first)
  const hashOf = (block: number) => `0x${block.toString(16).padStart(64, '0')}`
  const hashes = { hash: hashOf(number), parentHash: hashOf(number - 1) }
  return { number: quantity(number), ...hashes, timestamp: quantity(1_700_000_000 + 12 * number) }
}

let root = ''
let files = 0
const path = (name: string) => join(root, `${files++}-${name}`)
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ssv-source-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))
beforeEach(() => {
  Object.assign(node, { logs: LOGS, chainId: network.chainId, isAway: false, asked: [], fault: '' })
  vi.stubGlobal('fetch', async (_: URL, { body }: { body: string }) => {
    const { method, params } = JSON.parse(body) as { method: string; params: unknown[] }
    node.asked.push(method)
    if (node.isAway) throw new TypeError('fetch failed')
    const outcome =
      node.fault === method ? { error: { code: -32_601, message: 'no' } } : { result: answer(method, params) }
    return Response.json({ jsonrpc: '2.0', id: 1, ...outcome })
  })
})
afterEach(() => void vi.unstubAllGlobals())

const refOf = (id: number | undefined, publicKey?: Uint8Array): OperatorRef => ({
  ...{ id, publicKey, name: `${id ?? 'any'} ${publicKey === undefined ? 'without a key' : 'with one'}` },
})
const chainOf = (stateFile: string) => ({
  ...{ endpoints: [new URL('http://node.invalid')], timeoutMs: 60_000, retryTimeoutMs: 0, stateFile },
})
function sourceOf(refs: OperatorRef[], more: { keysharesFiles?: string[]; isWithoutChain?: true } = {}) {
  const stateFile = path('state.json')
  const { keysharesFiles = [], isWithoutChain } = more
  const chain = isWithoutChain ? undefined : chainOf(stateFile)
  const sources = { owners: [], proofsFiles: [], keysharesFiles, chain }
  const source = createSsvSource({ sources, operators: refs, network, engine, events })
  return {
    stateFile,
    async look() {
      const { shares, problems } = await source.look(signal)
      return {
        shares: shares.map(({ operator, keyShare, origin }) => {
          const validator = validators.findIndex(({ publicKey }) => toHex(publicKey) === keyShare.validatorPublicKey)
          return `${operator.name}: ${keyShare.shareIndex} of ${validator + 1} in ${origin}`
        }),
        problems: problems as (Error & { code?: string })[],
      }
    },
  }
}

describe('key shares of the contract', () => {
  it('are those of every id that a key has, or of the one id that is named', async () => {
    const key = keyAt(0)
    const { look, stateFile } = sourceOf([refOf(undefined, key), refOf(1, key), refOf(5), refOf(3, keyAt(2))])
    expect(await look()).toEqual({
      shares: [
        'any with one: 1 of 1 in log 0 of block 102',
        'any with one: 5 of 2 in log 1 of block 102',
        '1 with one: 1 of 1 in log 0 of block 102',
        '5 without a key: 5 of 2 in log 1 of block 102',
        '3 with one: 3 of 1 in log 0 of block 102',
        '3 with one: 3 of 2 in log 1 of block 102',
      ],
      problems: [],
    })
    // What is kept is of the ids that are named, and of the keys whose ids are not.
    const scope = { contract, owners: undefined, operators: { ids: [1, 3, 5], publicKeys: [key] } }
    expect(parseSsvState(scope, await readFile(stateFile, 'utf8'))).toMatchObject({ nextBlock: 106 })
  })

  it('are not found for an operator that the contract has not, or with another key', async () => {
    const [first, stranger] = [keyAt(0), keyAt(4)]
    const { look } = sourceOf([
      ...[refOf(undefined, stranger), refOf(9, first), refOf(9), refOf(2, first), refOf(2, stranger), refOf(2)],
    ])
    const { shares, problems } = await look()
    expect(shares).toEqual([
      '2 without a key: 2 of 1 in log 0 of block 102',
      '2 without a key: 2 of 2 in log 1 of block 102',
    ])
    expect(problems.map(({ code, message }) => [code, message.replace(/[:;] [^:;]*$/, '')])).toEqual([
      ['OPERATOR_UNKNOWN', 'no operator of the SSV contract has the key of any with one'],
      ['OPERATOR_UNKNOWN', 'the SSV contract knows no operator 9'],
      ['OPERATOR_UNKNOWN', 'the SSV contract knows no operator 9'],
      [
        'OPERATOR_WRONG',
        'operator 2 has another key on the chain than 2 with one: that file has the key of operator 1, 5',
      ],
      [
        'OPERATOR_WRONG',
        'operator 2 has another key on the chain than 2 with one: no operator has the key of that file',
      ],
    ])
  })
})

describe('the chain of the node', () => {
  it('is looked at once, before anything is read', async () => {
    const { look } = sourceOf([refOf(1)])
    await look()
    expect(node.asked).toContain('eth_chainId')
    await look()
    node.asked.length = 0
    expect((await look()).problems).toEqual([])
    expect(node.asked).not.toContain('eth_chainId')
  })

  it('ends the boot where it is another one, and nothing else does, also where it is seen late', async () => {
    const { look } = sourceOf([refOf(1)])
    node.isAway = true
    expect((await look()).problems).toHaveLength(1)
    Object.assign(node, { isAway: false, fault: 'eth_chainId' })
    expect((await look()).problems).toHaveLength(1)
    Object.assign(node, { fault: '', chainId: 1 })
    await expect(look()).rejects.toMatchObject({
      code: 'CHAIN_MISMATCH',
      message: 'the execution node at node.invalid is on chain 1, hoodi is chain 560048 (EXECUTION_ENDPOINT, NETWORK)',
    })
  })

  it('is not read where no node answers: one question says so, and what was found stays', async () => {
    const { look } = sourceOf([refOf(1)])
    const { shares } = await look()
    expect(shares).toHaveLength(1)
    node.asked.length = 0
    node.isAway = true
    const away = await look()
    expect([away.shares, away.problems.length, node.asked]).toEqual([shares, 1, ['eth_blockNumber']])
  })
})

describe('key shares of files', () => {
  it('are found without a chain, of each operator its own', async () => {
    const file = path('keyshares.json')
    await writeFile(file, keysharesJson(validators))
    const { look } = sourceOf([refOf(1), refOf(5), refOf(2)], { keysharesFiles: [file], isWithoutChain: true })
    expect(await look()).toEqual({
      shares: [
        `1 without a key: 1 of 1 in ${file} shares[0]`,
        `2 without a key: 2 of 1 in ${file} shares[0]`,
        `5 without a key: 5 of 2 in ${file} shares[1]`,
        `2 without a key: 2 of 2 in ${file} shares[1]`,
      ],
      problems: [],
    })
    expect(node.asked).toEqual([])
  })

  it('come after those of the chain, and are of its operators', async () => {
    const file = path('keyshares.json')
    const swapped = [...one.operators.slice(0, 3), { ...(operators[3] ?? one.operators[0]), publicKeyText: texts[4] }]
    await writeFile(file, keysharesJson([{ ...one, operators: swapped as MadeOperator[] }, two]))
    const { shares, problems } = await sourceOf([refOf(2)], { keysharesFiles: [file] }).look()
    expect(shares).toEqual([
      '2 without a key: 2 of 1 in log 0 of block 102',
      '2 without a key: 2 of 2 in log 1 of block 102',
      `2 without a key: 2 of 2 in ${file} shares[1]`,
    ])
    expect(problems).toMatchObject([
      {
        code: 'KEYSHARES_INVALID',
        message: expect.stringContaining(`${file} shares[0] names another key for operator 4`),
      },
    ])
  })
})

describe('the keystore of operators that the contract has not', () => {
  const { SSV_OPERATOR_KEY_FILE: known } = operatorFiles(70001)
  const keystoreOf = (...keyFiles: string[]) => {
    const found = keyFiles.map((keyFile) => ({ keyFile, passwordFile: undefined, operatorId: undefined }))
    const sources = { owners: [], proofsFiles: [], keysharesFiles: [], chain: chainOf(path('state.json')) }
    return openSsvKeystore({ ssv: { ...sources, operators: found }, network, engine, events })
  }

  it('says so of each, and may find them later', async () => {
    const made = path('key')
    await writeFile(made, makeOperators([1])[0]?.keyFile ?? '')
    const words = (file: string) => `no operator of the SSV contract has the key of ${file}: `
    const alone = await keystoreOf(known)
    await expect(alone.reload(signal)).rejects.toMatchObject({
      code: 'OPERATOR_UNKNOWN',
      message: expect.stringContaining(words(known)),
    })
    const both = await keystoreOf(known, made)
    const error = await both.reload(signal).catch((reason: Error) => reason)
    expect(error).toMatchObject({ name: 'KeysError', code: 'KEYS_INCOMPLETE' })
    for (const file of [known, made]) expect((error as Error).message).toContain(words(file))
  })

  it('waits for their first validator where they are known', async () => {
    const text = await readFile(known.replace(/private_key$/, 'public_key'), 'utf8')
    node.logs = [operatorAddedLog({ ...(operators[0] as MadeOperator), publicKeyText: text.trim() }, 101, 0)]
    const keystore = await keystoreOf(known)
    expect([await keystore.reload(signal), keystore.keyShares]).toEqual([false, []])
  })
})
