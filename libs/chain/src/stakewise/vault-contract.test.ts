import { fromHex } from '@dvt-relayer/common/hex.ts'
import { expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import { acceptsSignature } from './vault-contract.ts'

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
