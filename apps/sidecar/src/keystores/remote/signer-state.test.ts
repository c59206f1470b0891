import { expect, it } from 'vitest'
import { SignerError } from './error.ts'
import { createSignerState } from './signer-state.ts'

/** A signer that has answered, and what was told of it. */
function startState() {
  const told: string[] = []
  const state = createSignerState({
    host: 'signer',
    title: 'remote signer',
    events: { signerLeft: () => told.push('left'), signerBack: () => told.push('back') },
    onChange: () => {},
    onBack: () => {},
  })
  state.answered(0)
  return { ...state, told }
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
