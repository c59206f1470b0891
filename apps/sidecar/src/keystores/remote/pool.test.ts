import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SignerError } from './error.ts'
import { REMOTE_SIGNER } from './holder.ts'
import { createSignerPool } from './pool.ts'
import type { SignerHttp } from './signer-http.ts'
import { NO_TLS_FILES } from './tls.ts'

beforeEach(() => vi.spyOn(Math, 'random').mockReturnValue(1))
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const signal = new AbortController().signal
const [A, B, C] = ['aa', 'bb', 'cc'].map((byte) => `0x${byte.repeat(48)}`) as [string, string, string]
const SIGNATURE = new Uint8Array(96).fill(1)
const sorry = (fault: ConstructorParameters<typeof SignerError>[0], words = 'sorry') => new SignerError(fault, words)

/** Signers `one` and `two`, which list these keys, or fail. */
async function setUp(listed: Record<string, readonly string[] | Error>) {
  const looks: string[] = []
  const clients = new Set<SignerHttp>()
  const answer = async (http: SignerHttp) => {
    const { host } = http
    clients.add(http)
    looks.push(host)
    const keys = listed[host] ?? []
    if (keys instanceof Error) throw keys
    return new Set(keys)
  }
  const askWhetherUp = async (http: SignerHttp) => {
    await answer(http)
    looks.push(`${looks.pop()} is up`)
  }
  const events = { signerAsked: vi.fn(), signerLeft: vi.fn(), signerBack: vi.fn(), signerFound: vi.fn() }
  const onChange = vi.fn()
  const onBack = vi.fn()
  const pool = await createSignerPool({
    ...{ urls: ['one', 'two'].map((host) => new URL(`http://${host}`)), holder: REMOTE_SIGNER, tls: NO_TLS_FILES },
    ...{ api: { askPublicKeys: answer, askWhetherUp }, timeoutMs: 1000 },
    ...{ events, onChange, onBack },
  })
  const asked: string[] = []
  return {
    ...{ pool, events, onChange, onBack, looks, clients, asked, listed },
    /** Asks for a signature by a key; each signer fails so, or signs. */
    sign: (publicKey: string, faults: Record<string, Error> = {}, isRight = true, stop = signal) =>
      pool.sign(
        {
          publicKey,
          async ask({ host }) {
            asked.push(host)
            if (faults[host] !== undefined) throw faults[host]
            return SIGNATURE
          },
          isRight: async () => isRight,
        },
        stop,
      ),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

describe('keys', () => {
  it('are those of all signers; one that fails costs the others nothing, and what it last listed stays', async () => {
    await using set = await setUp({ one: [A, B], two: sorry('timeout') })
    expect(await set.pool.publicKeys(signal)).toEqual(new Set([A, B]))
    expect(set.pool.isAway()).toBe(false)
    set.listed['two'] = [C]
    expect(await set.pool.publicKeys(signal)).toEqual(new Set([A, B, C]))
    set.listed['one'] = sorry('timeout')
    set.listed['two'] = sorry('timeout')
    expect(await set.pool.publicKeys(signal)).toEqual(new Set([A, B, C]))
    expect(set.events.signerFound.mock.calls).toEqual([
      ['one', 2],
      ['two', 1],
    ])
  })

  it('cannot be told before one has listed any', async () => {
    await using set = await setUp({ one: sorry('timeout', 'one is late'), two: sorry('tls') })
    await expect(set.pool.publicKeys(signal)).rejects.toThrow('one is late')
  })

  it('that are given up blame nobody', async () => {
    await using set = await setUp({ one: [A], two: [] })
    await set.pool.publicKeys(signal)
    set.listed['one'] = sorry('stopped')
    set.listed['two'] = sorry('stopped')
    await set.pool.publicKeys(AbortSignal.abort())
    expect(set.events.signerLeft).not.toHaveBeenCalled()
    expect(set.pool.isAway()).toBe(false)
  })
})

describe('a signature', () => {
  it('is asked for at the signer that holds the key, wherever that stands', async () => {
    await using set = await setUp({ one: [A], two: [B] })
    await set.pool.publicKeys(signal)
    for (const key of [A, B, C]) expect(await set.sign(key)).toBe(SIGNATURE)
    expect(set.asked).toEqual(['one', 'two', 'one'])
    expect(set.events.signerAsked.mock.calls.map(([outcome]) => outcome)).toEqual(['ok', 'ok', 'ok'])
  })

  it.each(['refused', 'bad_request'] as const)('that is %s is asked for nowhere else', async (fault) => {
    await using set = await setUp({ one: [A], two: [A] })
    await set.pool.publicKeys(signal)
    await expect(set.sign(A, { one: sorry(fault) })).rejects.toMatchObject({ fault })
    expect(set.asked).toEqual(['one'])
  })

  it.each(['unknown_key', 'timeout', 'unreachable'] as const)(
    'that ends with %s is asked for elsewhere',
    async (fault) => {
      await using set = await setUp({ one: [A], two: [A] })
      await set.pool.publicKeys(signal)
      expect(await set.sign(A, { one: sorry(fault) })).toBe(SIGNATURE)
      expect(set.asked).toEqual(['one', 'two'])
      expect(set.events.signerAsked.mock.calls.map(([outcome]) => outcome)).toEqual([fault, 'ok'])
    },
  )

  it('that nobody makes fails with the first fault', async () => {
    await using set = await setUp({ one: [A], two: [A] })
    await set.pool.publicKeys(signal)
    const faults = { one: sorry('unknown_key', 'of one'), two: sorry('unknown_key', 'of two') }
    await expect(set.sign(A, faults)).rejects.toThrow('of one')
  })

  it('that is wrong is none, and is counted as that', async () => {
    await using set = await setUp({ one: [A], two: [] })
    await set.pool.publicKeys(signal)
    await expect(set.sign(A, {}, false)).rejects.toThrow('the remote signer one answers with a wrong signature')
    expect(set.events.signerAsked.mock.calls.map(([outcome]) => outcome)).toEqual([
      'wrong_signature',
      'wrong_signature',
    ])
  })

  it('whose question breaks, or is given up, is asked for nowhere else and not counted', async () => {
    await using set = await setUp({ one: [A], two: [A] })
    await set.pool.publicKeys(signal)
    await expect(set.sign(A, { one: new TypeError('broken') })).rejects.toThrow('broken')
    await expect(set.sign(A, { one: sorry('stopped') })).rejects.toMatchObject({ code: 'SIGNER_STOPPED' })
    expect(set.asked).toEqual(['one', 'one'])
    await expect(set.sign(A, {}, true, AbortSignal.abort())).rejects.toMatchObject({ code: 'SIGNER_STOPPED' })
    expect([set.asked.length, set.events.signerAsked.mock.calls]).toEqual([2, []])
  })

  it('is asked of nobody before keys are listed', async () => {
    await using set = await setUp({ one: [A], two: [A] })
    expect(set.pool.isAway()).toBe(true)
    await expect(set.sign(A)).rejects.toMatchObject({
      code: 'SIGNER_AWAY',
      message: 'the remote signer one has not been asked yet; the remote signer two has not been asked yet',
    })
    expect(set.asked).toEqual([])
    await set.pool.publicKeys(signal)
    expect(set.pool.isAway()).toBe(false)
  })

  it('waits while sixteen are on their way, and is not asked for once its signer is left', async () => {
    await using set = await setUp({ one: [A], two: sorry('timeout') })
    await set.pool.publicKeys(signal)
    const answers: PromiseWithResolvers<Uint8Array>[] = []
    const ask = () => {
      answers.push(Promise.withResolvers())
      return answers.at(-1)?.promise as Promise<Uint8Array>
    }
    const outcomes = Array.from({ length: 18 }, () =>
      set.pool.sign({ publicKey: A, ask, isRight: async () => true }, signal).then(
        () => 'ok',
        ({ code }) => code,
      ),
    )
    await setImmediate()
    expect(answers.length).toBe(16)
    answers[0]?.reject(sorry('unreachable'))
    await outcomes[0]
    for (const { resolve } of answers) resolve(SIGNATURE)
    // The first that waits is on its way before the other's failure is looked at.
    expect(await Promise.all(outcomes)).toEqual(['SIGNER_UNREACHABLE', ...Array(16).fill('ok'), 'SIGNER_AWAY'])
    expect(answers.length).toBe(17)
  })

  it('is counted with the seconds it took, without those it waited', async () => {
    await using set = await setUp({ one: [A], two: [] })
    await set.pool.publicKeys(signal)
    let now = Math.round(performance.now())
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 500))
    await set.sign(A)
    expect(set.events.signerAsked.mock.calls).toEqual([['ok', 0.5]])
  })
})

describe('a pool', () => {
  it('can be relied on while one of its signers is good, and says else what is wrong with each', async () => {
    await using set = await setUp({ one: sorry('timeout', 'one is late'), two: [A] })
    await set.pool.publicKeys(signal)
    expect(set.onChange.mock.lastCall).toEqual([undefined])
    set.listed['two'] = sorry('timeout', 'two is late')
    await set.pool.publicKeys(signal)
    expect(set.onChange.mock.lastCall).toEqual(['one is late; two is late'])
    expect(set.pool.isAway()).toBe(true)
  })

  it('that is closed keeps no connection to any of its signers', async () => {
    const set = await setUp({ one: [A], two: [B] })
    await set.pool.publicKeys(signal)
    await set.pool[Symbol.asyncDispose]()
    expect(set.clients.size).toBe(2)
    for (const http of set.clients)
      await expect(http.ask({ method: 'GET', path: '/', maxBytes: 1, signal })).rejects.toThrow('UND_ERR_DESTROYED')
  })

  it('looks at those that are away after a while, and at those that seem fine every 15 s', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    await using set = await setUp({ one: sorry('timeout'), two: [A] })
    await set.pool.publicKeys(signal)
    set.looks.length = 0
    await vi.advanceTimersByTimeAsync(999)
    expect(set.looks).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(set.looks).toEqual(['one'])
    set.listed['one'] = [A]
    await vi.advanceTimersByTimeAsync(1999)
    expect(set.events.signerBack).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(set.events.signerBack.mock.calls).toEqual([['one']])
    await vi.advanceTimersByTimeAsync(11_999)
    expect(set.looks).toEqual(['one', 'one'])
    await vi.advanceTimersByTimeAsync(1)
    // One that has listed its keys need only say that it is there.
    expect(set.looks).toEqual(['one', 'one', 'two is up'])
    const disposed = set.pool[Symbol.asyncDispose]()
    await vi.advanceTimersByTimeAsync(60_000)
    await disposed
    expect(set.looks.length).toBe(3)
  })
})
