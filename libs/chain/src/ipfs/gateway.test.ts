import { type HttpAsk, HttpError, type HttpRequest } from '@dvt-relayer/common/http/client.ts'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { readFixtureBytes, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { type Cid, cidOf, parseCid } from './cid.ts'
import { askGateway } from './gateway.ts'

const CONTENT = Buffer.from('an oracle config')
const parsed = (text: string): Cid => {
  const cid = parseCid(text)
  if (cid === undefined) throw new Error('no CID')
  return cid
}
const cid = parsed(cidOf(CONTENT, 0))
const RAW = parsed(cidOf(CONTENT, 1))
const failed = (status: number) => new HttpError('HTTP_STATUS', 'a', 'failed', { status })

/** Asks a gateway that answers so; which forms it was asked for is noted. */
async function ask(
  answer: (form: string, request: HttpRequest) => Uint8Array | Error,
  of: Cid = cid,
  signal?: AbortSignal,
) {
  const forms: string[] = []
  const requests: HttpRequest[] = []
  const gateway = {
    send: async (request: HttpRequest) => {
      const form = request.query?.['format'] ?? 'bytes'
      forms.push(form)
      requests.push(request)
      const given = answer(form, request)
      if (given instanceof Error) throw given
      return { bytes: given }
    },
  } as unknown as HttpAsk
  const request = { cid: of, maxBytes: 3_000, timeoutMs: 5_000, clientTimeoutMs: 2_000, signal }
  return { answer: await askGateway(gateway, request, new Map()), forms, requests }
}
const ALL_FORMS = ['raw', 'car', 'bytes']

describe('a gateway', () => {
  it('that refuses one form is asked for the others, and one that is away, slow or busy for none', async () => {
    const further: number[] = []
    const statuses = Array.from({ length: 200 }, (_, i) => 400 + i)
    for (const status of statuses) {
      const { forms, answer } = await ask(() => failed(status))
      expect(answer).toMatchObject({ proven: undefined, unproven: undefined })
      if (forms.length > 1) further.push(status)
      expect([['raw'], ALL_FORMS]).toContainEqual(forms)
    }
    expect(further).toEqual([
      ...statuses.filter((status) => status < 500 && status !== 408 && status !== 425 && status !== 429),
      501,
    ])
    expect((await ask(() => new HttpError('HTTP_TOO_LARGE', 'a', 'too large'))).forms).toEqual(ALL_FORMS)
    for (const code of ['HTTP_TIMEOUT', 'HTTP_UNREACHABLE'] as const)
      expect((await ask(() => new HttpError(code, 'a', 'away'))).forms).toEqual(['raw'])
    await expect(ask(() => new TypeError('ours'))).rejects.toThrow(TypeError)
  })

  it('that has not the block is asked for the others too, and believed of what the CID proves', async () => {
    const wrong = Buffer.from('a page of words')
    expect(await ask((form) => (form === 'bytes' ? CONTENT : wrong))).toMatchObject({
      answer: { proven: CONTENT },
      forms: ALL_FORMS,
    })
    expect(await ask(() => CONTENT, RAW)).toMatchObject({ answer: { proven: CONTENT }, forms: ['raw'] })
    const { answer } = await ask(() => wrong)
    expect(answer).toMatchObject({ proven: undefined, unproven: wrong })
    // Bytes that a raw CID contradicts are nothing at all.
    expect((await ask(() => wrong, RAW)).answer).toMatchObject({ proven: undefined, unproven: undefined })
  })

  it('that has all blocks in one archive is believed of those that are in it', async () => {
    const archive = readFixtureBytes('ipfs/balanced-fixed-v1-raw.car')
    const { 'balanced-fixed-v1-raw': root = '' } = readFixtureJson('ipfs/roots.json') as Record<string, string>
    const served = (bytes: Uint8Array) => ask((form) => (form === 'car' ? bytes : failed(404)), parsed(root))
    expect(await served(archive)).toMatchObject({
      answer: { proven: expect.objectContaining({ length: 3_000 }) },
      forms: ['raw', 'car'],
    })
    const { answer, forms } = await served(archive.subarray(0, -1))
    expect(answer).toMatchObject({ proven: undefined, problem: expect.stringContaining('as a CAR: without the block') })
    expect(forms).toEqual(ALL_FORMS)
  })

  it('is asked for bytes alone where the CID can be compared with no block', async () => {
    for (const part of ['codec', 'digest'] as const)
      expect(await ask(() => CONTENT, { ...cid, [part]: undefined })).toMatchObject({
        answer: { proven: undefined, unproven: CONTENT },
        forms: ['bytes'],
      })
  })

  it('has the time that is left for all questions together', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { requests } = await ask((form) => {
      vi.advanceTimersByTime(form === 'raw' ? 1_000 : 9_000)
      return failed(404)
    })
    expect(requests.map(({ extraMs }) => extraMs)).toEqual([3_000, 2_000, -1_999])
  })

  it('is asked no longer than who waits for it', async () => {
    const stop = new AbortController()
    const seen: (boolean | undefined)[] = []
    const { requests } = await ask(
      (_, { signal }) => {
        seen.push(signal?.aborted)
        stop.abort()
        seen.push(signal?.aborted)
        return failed(503)
      },
      cid,
      stop.signal,
    )
    expect(seen).toEqual([false, true])
    // Who waits for nothing any more lets go of what is under way.
    const { requests: others } = await ask(() => failed(503))
    expect([...requests, ...others].map(({ signal }) => signal?.aborted)).toEqual([true, true])
  })
})
