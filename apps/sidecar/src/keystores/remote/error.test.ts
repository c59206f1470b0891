import { expect, it } from 'vitest'
import { SignerError } from './error.ts'

it.each([
  ['timeout', undefined, { code: 'SIGNER_TIMEOUT', fault: 'timeout', meta: {} }],
  ['unreachable', 'ECONNRESET', { code: 'SIGNER_UNREACHABLE', fault: 'unreachable', meta: { reason: 'ECONNRESET' } }],
  // Nobody was asked, so nobody is at fault.
  ['away', undefined, { code: 'SIGNER_AWAY', fault: undefined, meta: {} }],
  ['stopped', undefined, { code: 'SIGNER_STOPPED', fault: undefined, meta: {} }],
] as const)('a signer’s error says whose fault it is, and the reason for the log: %s', (fault, reason, expected) => {
  const { code, fault: found, meta } = new SignerError(fault, 'sorry', reason)
  expect({ code, fault: found, meta }).toStrictEqual(expected)
})
