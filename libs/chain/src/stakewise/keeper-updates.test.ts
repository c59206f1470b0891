import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { encodeFunctionData, parseAbi } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import { encodeUpdate, findUpdates, isAccepted, readExitSignaturesNonce, readMinOracles } from './keeper-updates.ts'

const word = (value: number) => fromHex(BigInt(value).toString(16).padStart(64, '0'), 32)
/** Length, content, and zeros up to a whole word. */
const tail = (bytes: Uint8Array) =>
  Buffer.concat([word(bytes.length), bytes, new Uint8Array((32 - (bytes.length % 32)) % 32)])

describe('the calldata of an update', () => {
  it.each([
    ['Qmaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 4],
    ['"\\\'~!', 1],
    ['x'.repeat(32), 8],
    ['x'.repeat(200), 11],
  ])('with hash %s is the one by hand, and the one of the readable signature', async (ipfsHash, oracles) => {
    const vault = new Uint8Array(20).fill(0xab)
    const deadline = 1_800_000_000
    const signatures = Uint8Array.from({ length: 65 * oracles }, (_, position) => position)
    const signature = new TextEncoder().encode('updateExitSignatures(address,uint256,string,bytes)')
    const hash = tail(new TextEncoder().encode(ipfsHash))
    const head = [new Uint8Array(12), vault, word(deadline), word(128), word(128 + hash.length)]
    const byHand = Buffer.concat([keccak_256(signature).subarray(0, 4), ...head, hash, tail(signatures)])
    const data = await encodeUpdate({ vault, deadline, ipfsHash, signatures })
    expect(data).toBe(toHex(byHand))
    const abi = parseAbi([
      'function updateExitSignatures(address vault, uint256 deadline, string exitSignaturesIpfsHash, bytes oraclesSignatures)',
    ])
    const args = [toHex(vault), BigInt(deadline), ipfsHash, toHex(signatures)] as const
    expect(encodeFunctionData({ abi, args })).toBe(data)
  })
})

const network = { keeper: new Uint8Array(20).fill(7) }
const BLOCK = `0x${'ab'.repeat(32)}`
const { signal } = new AbortController()

describe('a number of the Keeper', () => {
  const answering = (value: bigint) => ({
    host: 'a',
    call: async () => fromHex(value.toString(16).padStart(64, '0'), 32),
  })

  it('is how many oracles must approve: one to 256', async () => {
    for (const count of [1, 2, 256]) expect(await readMinOracles(answering(BigInt(count)), network, BLOCK)).toBe(count)
    for (const count of [0n, 257n, 2n ** 53n])
      await expect(readMinOracles(answering(count), network, BLOCK)).rejects.toMatchObject({
        code: 'EXECUTION_INVALID',
      })
  })

  it('is the nonce of a vault, never rounded', async () => {
    const nonceOf = (value: bigint) => readExitSignaturesNonce(answering(value), network, new Uint8Array(20), BLOCK)
    expect(await nonceOf(0n)).toBe(0)
    expect(await nonceOf(2n ** 53n - 1n)).toBe(Number.MAX_SAFE_INTEGER)
    await expect(nonceOf(2n ** 53n)).rejects.toThrow('a nonce is above 2^53 - 1')
  })
})

describe('the newest updates of a vault', () => {
  /** Updates of the blocks 10, 20, 30, 40 and 45, in ranges of ten blocks. */
  async function find(count: number, fromBlock = 1) {
    const ranges: string[] = []
    const queries: { topics: unknown; signal: unknown; backwards: unknown }[] = []
    const execution = {
      async *scanLogs({ topics, signal, toBlock: last, fromBlock: first }: Scan, backwards: unknown) {
        queries.push({ topics, signal, backwards })
        for (let toBlock = last; toBlock >= first; toBlock -= 10) {
          ranges.push(`${toBlock - 9}-${toBlock}`)
          const blocks = [10, 20, 30, 40, 45].filter((block) => block <= toBlock && block > toBlock - 10)
          const logs = blocks.map((blockNumber) => ({
            blockNumber,
            args: { nonce: BigInt(blockNumber), exitSignaturesIpfsHash: `update ${blockNumber}` },
          }))
          yield { logs }
        }
      },
    } as unknown as ExecutionClient
    const scan = { vault: new Uint8Array(20).fill(0x11), fromBlock, toBlock: 50, count, signal }
    return { found: await findUpdates(execution, network, scan), ranges, queries }
  }
  interface Scan {
    topics: unknown
    signal: unknown
    fromBlock: number
    toBlock: number
  }
  const update = (blockNumber: number) => ({
    blockNumber,
    nonce: BigInt(blockNumber),
    ipfsHash: `update ${blockNumber}`,
  })

  it('are as many as are asked for, oldest first, and nothing older is read', async () => {
    expect(await find(1)).toMatchObject({ found: [update(45)], ranges: ['41-50'] })
    expect(await find(2)).toMatchObject({ found: [update(40), update(45)], ranges: ['41-50', '31-40'] })
    expect((await find(9)).found).toEqual([10, 20, 30, 40, 45].map(update))
  })

  it('are those of the vault, whoever sent them', async () => {
    const topics = [null, `0x${'00'.repeat(12)}${'11'.repeat(20)}`]
    expect((await find(1)).queries).toEqual([{ topics, signal, backwards: 'backwards' }])
  })
})

describe('an update that the Keeper is asked about', () => {
  const judge = (answer: () => Promise<Uint8Array>) => {
    const asked: unknown[] = []
    const call = (question: unknown) => {
      asked.push(question)
      return answer()
    }
    return { asked, judged: isAccepted({ host: 'a', call }, network, '0x1234', BLOCK, signal) }
  }
  const failing = (error: Error) => judge(() => Promise.reject(error)).judged

  it('is accepted where the call gives nothing, or anything, and not where it is reverted', async () => {
    expect(await failing(new ChainError('EXECUTION_EMPTY', 'nothing'))).toBe(true)
    expect(await failing(new ChainError('EXECUTION_REVERTED', 'no'))).toBe(false)
    const { asked, judged } = judge(async () => new Uint8Array(32))
    expect(await judged).toBe(true)
    expect(asked).toEqual([{ to: network.keeper, data: '0x1234', block: BLOCK, signal }])
  })

  it('is neither while no node can say', async () => {
    for (const error of [new ChainError('EXECUTION_REFUSED', 'odd'), new Error('away')])
      await expect(failing(error)).rejects.toBe(error)
  })
})
