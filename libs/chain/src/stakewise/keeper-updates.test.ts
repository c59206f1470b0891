import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { encodeFunctionData, parseAbi } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { encodeUpdate } from './keeper-updates.ts'

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
