/** What a route of the contract is, and the types that a handler, a client and a test take from it. */

import type { Static, TSchema } from 'typebox'

/** Who may call, where tokens are set. `public` needs no token even then; `admin` may call everything. */
export const ROLES = ['operator', 'sidecar', 'oracle', 'admin'] as const
export type Role = (typeof ROLES)[number]
export type Access = 'public' | readonly Role[]

/** One route of the relayer. */
export interface RouteContract {
  method: 'GET' | 'POST'
  path: string
  summary: string
  access: Access
  /** Of the `:parts` of the path. */
  params?: TSchema
  query?: TSchema
  body?: TSchema
  response: TSchema
}

/** The `:parts` of a route's path; undefined where it has none. */
export type ParamsOf<R> = R extends { params: infer S extends TSchema } ? Static<S> : undefined
/** The query of a route; undefined where it takes none. */
export type QueryOf<R> = R extends { query: infer S extends TSchema } ? Static<S> : undefined
/** The body of a route; undefined where it takes none. */
export type BodyOf<R> = R extends { body: infer S extends TSchema } ? Static<S> : undefined
/** The answer of a route, where it is a 2xx. */
export type AnswerOf<R> = R extends { response: infer S extends TSchema } ? Static<S> : never

/**
 * `Given` with `never` for every field that `Shape` does not name. TypeScript lets a function return more fields than its type has, so a
 * misspelt optional field would go unseen; comparing `Given` with `Exact<Shape, Given>` finds it.
 */
export type Exact<Shape, Given> = unknown extends Shape
  ? Given
  : Given extends readonly (infer Item)[]
    ? readonly Exact<ItemOf<Shape>, Item>[]
    : Given extends object
      ? { [Name in keyof Given]: Name extends NameOf<Shape> ? Exact<FieldOf<Shape, Name>, Given[Name]> : never }
      : Given

/** Of any member of a union. */
type NameOf<Shape> = Shape extends unknown ? keyof Shape : never
type FieldOf<Shape, Name> = Shape extends unknown ? (Name extends keyof Shape ? Shape[Name] : never) : never
type ItemOf<Shape> = Shape extends readonly (infer Item)[] ? Item : never

/** The path of a request to a route: its `:parts` filled in. */
export function pathOf<const R extends RouteContract>({ path }: R, params: ParamsOf<R>): string {
  const parts = (params ?? {}) as Readonly<Record<string, string>>
  return path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(parts[name] ?? ''))
}
