import { fromHex } from '@dvt-relayer/common/hex.ts'
import { expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import { acceptsSignature, hasCode } from './vault-contract.ts'

/** `isValidSignature(bytes32,bytes)`, which says yes by its own selector. */
const ACCEPTED = '1626ba7e'.padEnd(64, '0')

it.each([
  ['the word that says yes', ACCEPTED, true],
  ['that word and more, of which vaults look at none', ACCEPTED + '01'.repeat(32), true],
  ['another word', '1626ba7f'.padEnd(64, '0'), false],
  ['that word with something behind it', `${'1626ba7e'.padEnd(63, '0')}1`, false],
  ['less than a word', '1626ba7e', false],
  ['nothing', '', false],
])('a contract accepts a signature by %s', async (_, answer, isAccepted) => {
  const execution = { call: async () => fromHex(`0x${answer}`, answer.length / 2) }
  const signed = { digest: new Uint8Array(32), signature: new Uint8Array(65) }
  const place = { blockHash: `0x${'11'.repeat(32)}`, signal: undefined }
  expect(await acceptsSignature(execution, new Uint8Array(20), signed, place)).toBe(isAccepted)
})

it.each(['EXECUTION_REVERTED', 'EXECUTION_EMPTY'] as const)('a contract that says %s accepts nothing', async (code) => {
  const execution = { call: () => Promise.reject(new ChainError(code, 'it does')) }
  const signed = { digest: new Uint8Array(32), signature: new Uint8Array(65) }
  expect(await acceptsSignature(execution, new Uint8Array(20), signed, { blockHash: '0x', signal: undefined })).toBe(
    false,
  )
})

it('a contract is asked at the block, with the signal, and nothing is said while no node can answer', async () => {
  const { signal } = new AbortController()
  const asked: unknown[] = []
  const signed = { digest: new Uint8Array(32), signature: new Uint8Array(65) }
  const ask = (call: (question: unknown) => Promise<Uint8Array>) =>
    acceptsSignature({ call }, new Uint8Array(20), signed, { blockHash: '0xb10c', signal })
  await ask(async (question) => {
    asked.push(question)
    return new Uint8Array(32)
  })
  expect(asked).toEqual([expect.objectContaining({ block: '0xb10c', signal })])
  for (const error of [new ChainError('EXECUTION_REFUSED', 'odd'), new Error('away')])
    await expect(ask(() => Promise.reject(error))).rejects.toBe(error)
})

it.each([
  ['0x', false],
  ['0xef0100', true],
])('an address with the code %s has some: %s', async (code, isThere) => {
  const asked: unknown[] = []
  const request = async (method: string, params: readonly unknown[]) => {
    asked.push([method, params])
    return code as never
  }
  expect(await hasCode({ request }, '0xa', { blockHash: '0xb10c', signal: undefined })).toBe(isThere)
  expect(asked).toEqual([['eth_getCode', ['0xa', { blockHash: '0xb10c', requireCanonical: true }]]])
})
