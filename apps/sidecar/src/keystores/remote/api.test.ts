import { describe, expect, it } from 'vitest'
import { askPublicKeys, askSignature, askWhetherUp } from './api.ts'
import { SignerError } from './error.ts'
import type { SignerHttp } from './signer-http.ts'

const signal = new AbortController().signal
const KEY = `0x${'ab'.repeat(48)}`
const SIGNATURE = `0x${'cd'.repeat(96)}`

/** A signer that answers this to everything. */
const answering = (status: number, text = '') =>
  ({ host: 'signer.example', ask: async () => ({ status, text }) }) as unknown as SignerHttp

/** The fault that a question ends with, undefined where it ends well. */
async function faultOf(question: Promise<unknown>): Promise<string | undefined> {
  try {
    await question
    return undefined
  } catch (error) {
    if (error instanceof SignerError) return error.fault
    throw error
  }
}

describe('a status', () => {
  const faults: [number, string | undefined][] = [
    [199, 'status'],
    [200, undefined],
    [202, undefined],
    [299, undefined],
    [300, 'status'],
    [400, 'bad_request'],
    [401, 'unauthorized'],
    [403, 'unauthorized'],
    [404, 'unknown_key'],
    [411, 'status'],
    [412, 'refused'],
    [413, 'status'],
    [429, 'status'],
    [499, 'status'],
    [500, 'server_error'],
    [503, 'server_error'],
  ]

  it.each(faults)('%i means %s, whatever the question is', async (status, fault) => {
    expect(await faultOf(askSignature(answering(status, SIGNATURE), KEY, '{}', signal))).toBe(fault)
    expect(await faultOf(askPublicKeys(answering(status, '[]'), signal))).toBe(fault)
    // A signer that does not know the path is up all the same.
    expect(await faultOf(askWhetherUp(answering(status), signal))).toBe(status === 404 ? undefined : fault)
  })
})

describe('an answer', () => {
  it.each([
    SIGNATURE,
    SIGNATURE.slice(2),
    `${SIGNATURE}\n`,
    JSON.stringify(SIGNATURE),
    JSON.stringify({ signature: SIGNATURE }),
  ])('is a signature, bare or in JSON: %s', async (text) => {
    expect(await askSignature(answering(200, text), KEY, '{}', signal)).toEqual(new Uint8Array(96).fill(0xcd))
  })

  it.each(['', '{}', 'null', '0x', SIGNATURE.slice(0, -2), `${SIGNATURE}00`, JSON.stringify({ signature: 1 })])(
    'is no signature, and is not repeated: %j',
    async (text) => {
      const question = askSignature(answering(200, text), KEY, '{}', signal)
      await expect(question).rejects.toMatchObject({ fault: 'invalid', message: expect.not.stringContaining('cdcd') })
    },
  )

  it('is a list of keys without what is none', async () => {
    const text = JSON.stringify([KEY.toUpperCase().replace('0X', '0x'), KEY, 1, null, '0x12', {}])
    expect(await askPublicKeys(answering(200, text), signal)).toEqual(new Set([KEY]))
    for (const other of ['', '{}', 'null', '"x"'])
      expect(await faultOf(askPublicKeys(answering(200, other), signal))).toBe('invalid')
  })
})
