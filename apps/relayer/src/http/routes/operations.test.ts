import { expect, it } from 'vitest'
import type { Bind } from '../bind.ts'
import type { HttpContext } from '../context.ts'
import { Rendered } from '../rendered.ts'
import { operationsRoutes } from './operations.ts'

it('makes the OpenAPI document once, however often strangers ask for it', async () => {
  const handlers = new Map<string, () => Promise<unknown>>()
  const bind = ((contract: { path: string }, handler: () => Promise<unknown>) =>
    handlers.set(contract.path, handler)) as unknown as Bind
  let made = 0
  operationsRoutes(bind, {} as HttpContext, () => ({ openapi: '3.1.0', made: ++made }))
  const ask = async () => {
    const answer = await handlers.get('/openapi.json')?.()
    return answer instanceof Rendered ? answer.bytes : undefined
  }
  const first = await ask()
  expect(String(first)).toBe('{"openapi":"3.1.0","made":1}')
  expect(await ask()).toBe(first)
})
