import { afterEach, expect, it, vi } from 'vitest'
import { SignerError } from './error.ts'
import { createSignerState } from './signer-state.ts'

afterEach(() => vi.restoreAllMocks())

/** A signer that was not asked yet, and what was told of it. */
function newState() {
  const told: string[] = []
  const changes = { all: 0, back: 0 }
  const state = createSignerState({
    host: 'signer',
    title: 'remote signer',
    events: { signerLeft: () => told.push('left'), signerBack: () => told.push('back') },
    onChange: () => {
      changes.all++
    },
    onBack: () => {
      changes.back++
    },
  })
  return { ...state, told, changes }
}

/** The same of one that has answered. */
function startState() {
  const state = newState()
  state.answered(0)
  return state
}
const failure = (fault: ConstructorParameters<typeof SignerError>[0]) => new SignerError(fault, 'sorry')

it.each([
  // Nobody was asked, or the wait was given up.
  'away',
  'stopped',
  // The key's matter.
  'unknown_key',
  'refused',
  'bad_request',
  'wrong_message',
] as const)('is not blamed for %s, however often', (fault) => {
  const state = startState()
  for (let key = 0; key < 10; key++) expect(state.failedToSign(failure(fault), `key ${key}`, 0)).toBe(false)
  expect([state.isGood(), state.told]).toEqual([true, []])
})

it.each(['unreachable', 'tls'] as const)('is left at once where it is %s, and told of once', (fault) => {
  const state = startState()
  for (let key = 0; key < 3; key++) expect(state.failedToSign(failure(fault), `key ${key}`, 0)).toBe(false)
  expect([state.isAsked(), state.told]).toEqual([false, ['left']])
  // What was on its way to it when it was left puts off no look.
  const lookAt = state.lookAt()
  state.failedToSign(failure(fault), 'key', 60_000)
  expect(state.lookAt()).toBe(lookAt)
})

it('is left where three keys in a row get nothing of use, and has to sign before it is good again', () => {
  const state = startState()
  expect([1, 2].map((key) => state.failedToSign(failure('timeout'), `key ${key}`, 0))).toEqual([true, true])
  state.signed()
  expect([1, 2, 1].map((key) => state.failedToSign(failure('timeout'), `key ${key}`, 0))).toEqual([true, true, true])
  expect(state.isGood()).toBe(true)
  expect(state.failedToSign(failure('timeout'), 'key 3', 0)).toBe(false)
  expect([state.isAsked(), state.told]).toEqual([false, ['left']])
  state.answered(1)
  expect([state.isAsked(), state.isGood(), state.told]).toEqual([true, false, ['left']])
  state.signed()
  expect([state.isGood(), state.told]).toEqual([true, ['left', 'back']])
})

it('is not asked before it has answered, and is told of as left where it does not', () => {
  const state = newState()
  expect([state.isAsked(), state.isGood(), state.problem(), state.lookAt()]).toEqual([
    ...[false, false, 'the remote signer has not been asked yet', Number.POSITIVE_INFINITY],
  ])
  state.gone('sorry', 0)
  state.gone('sorry again', 0)
  expect([state.problem(), state.told, state.changes]).toEqual(['sorry again', ['left'], { all: 2, back: 0 }])
  state.answered(0)
  expect([state.isGood(), state.told, state.changes]).toEqual([true, ['left', 'back'], { all: 3, back: 1 }])
  // One that goes on to answer changes nothing.
  state.answered(0)
  expect(state.changes).toEqual({ all: 3, back: 1 })
})

it('that answers at once was never away', () => {
  const { told, changes } = startState()
  expect([told, changes]).toEqual([[], { all: 1, back: 1 }])
})

it('is looked at every 15 s while it is fine, and after 1 s, 2 s … 30 s where it is away, until it has signed', () => {
  vi.spyOn(Math, 'random').mockReturnValue(1)
  const state = newState()
  state.answered(1000)
  expect(state.lookAt()).toBe(16_000)
  const waits = Array.from({ length: 7 }, () => {
    state.gone('sorry', 100_000)
    return state.lookAt() - 100_000
  })
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  state.answered(100_000)
  state.gone('sorry', 100_000)
  expect(state.lookAt()).toBe(130_000)
  state.answered(100_000)
  state.signed()
  state.gone('sorry', 100_000)
  expect(state.lookAt()).toBe(101_000)
})

it('under trial is left at its first failure, which is told no more', () => {
  const state = startState()
  for (const key of [1, 2, 3]) state.failedToSign(failure('timeout'), `key ${key}`, 0)
  state.answered(0)
  expect([state.isAsked(), state.isGood()]).toEqual([true, false])
  expect(state.failedToSign(failure('timeout'), 'key 4', 0)).toBe(false)
  expect([state.isAsked(), state.told]).toEqual([false, ['left']])
  // One that could be reached no more has nothing to show when it is back.
  state.answered(0)
  state.failedToSign(failure('unreachable'), 'key 5', 0)
  state.answered(0)
  expect([state.isGood(), state.told]).toEqual([true, ['left', 'back']])
})

it('is not looked at for a wrong signature, which no look shows', () => {
  const state = startState()
  expect(state.failedToSign(failure('wrong_signature'), 'key 1', 0)).toBe(false)
  expect(state.isGood()).toBe(true)
})
