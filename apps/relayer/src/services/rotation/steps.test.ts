import { expect, it } from 'vitest'
import { describeStep, type Step, updateOf } from './steps.ts'

it('says how many validators were left out only where some were', () => {
  expect(describeStep({ step: 'nothing', leftOut: 0 })).toBe('nothing is outdated')
  expect(describeStep({ step: 'nothing', leftOut: 1 })).toBe(
    'nothing is outdated; 1 validators that the oracles name are not ours, not active or not final',
  )
  const collecting = { step: 'collecting', ready: 1, toSign: 2, toSplit: 3 } as const
  const words = '1 exits are ready, 2 are collected from the sidecars, 3 are being split'
  expect(describeStep({ ...collecting, leftOut: 0 })).toBe(words)
  expect(describeStep({ ...collecting, leftOut: 1 })).toBe(
    `${words}; 1 more that the oracles name are not ours, not active or not final`,
  )
})

it('says until when an update is good', () => {
  const update = { data: '0x00', deadline: 1_800_000_000, nonce: 0, ipfsHash: 'a', validators: [] } as const
  expect(describeStep({ step: 'approved', update })).toBe(
    'the update of 0 validators is approved until 2027-01-15T08:00:00.000Z',
  )
})

const counts = { needed: 2, oracles: 3 }
it.each<[Step, string]>([
  [{ step: 'nothing', leftOut: 0 }, 'ROTATION_NOTHING'],
  [{ step: 'collecting', ready: 0, toSign: 1, toSplit: 0, leftOut: 0 }, 'ROTATION_COLLECTING'],
  [{ step: 'open', validators: 1 }, 'ROTATION_COLLECTING'],
  [{ step: 'sent', transactionHash: undefined }, 'ROTATION_SENT'],
  [{ step: 'no_oracle_set' }, 'ROTATION_UNLEARNT'],
  [{ step: 'no_validity' }, 'ROTATION_UNLEARNT'],
  [{ step: 'unlearnt', answers: 1, ...counts }, 'ROTATION_UNLEARNT'],
  [{ step: 'unapproved', approvals: 1, ...counts }, 'ROTATION_UNAPPROVED'],
  [{ step: 'refused' }, 'ROTATION_UNAPPROVED'],
  [{ step: 'too_dear' }, 'ROTATION_UNAPPROVED'],
])('has no update at $step, and says what is missing', (step, code) => {
  expect(() => updateOf(step)).toThrow(expect.objectContaining({ code, message: describeStep(step) }))
})

it('has the update that is approved', () => {
  const update = { data: '0x00', deadline: 1, nonce: 0, ipfsHash: 'a', validators: [] } as const
  expect(updateOf({ step: 'approved', update })).toBe(update)
})
