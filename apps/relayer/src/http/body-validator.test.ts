import { ExitSignatureRequest, RegisterRequest } from '@dvt-relayer/api/schemas.ts'
import { expect, it } from 'vitest'
import { compileBody } from './body-validator.ts'

const validate = compileBody(ExitSignatureRequest)
const good = { public_key: '00', exit_signature: '00' }

it('takes what fits and names the place of a fault', () => {
  const body = { share_index: 1, shares: [good], more: {} }
  expect(validate(body)).toEqual({ value: body })
  expect(validate({ share_index: 1, shares: [good, { ...good, public_key: 1 }] })).toMatchObject({
    error: [{ instancePath: '/shares/1/public_key', message: 'must be string' }],
  })
  for (const other of [null, [], 1, 'x'])
    expect(validate(other)).toMatchObject({ error: [{ message: 'must be object' }] })
})

it('says which words are right where only a few are', () => {
  const body = { vault: '00'.repeat(20), validators_start_index: 1, amounts: [1] }
  for (const type of ['0x03', '', null, 1])
    expect(compileBody(RegisterRequest)({ ...body, validator_type: type })).toMatchObject({
      error: [{ instancePath: '/validator_type', message: 'must be 0x01 or 0x02' }],
    })
})

it('looks no further than the first fault, however long a list is', () => {
  const shares: unknown[] = Array.from({ length: 5000 }, () => 0)
  Object.defineProperty(shares, 4999, {
    get: () => {
      throw new Error('looked at')
    },
  })
  expect(validate({ share_index: 1, shares })).toMatchObject({ error: [{ instancePath: '/shares/0' }] })
})

it('refuses what is wrong only far down', () => {
  const shares = [...Array.from({ length: 5000 }, () => good), 0]
  expect(validate({ share_index: 1, shares })).toMatchObject({ error: [{ instancePath: '' }] })
})
