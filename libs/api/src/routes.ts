/** The routes: one contract for server, client, OpenAPI document and tests. */

import type { TSchema } from 'typebox'
import { Type } from 'typebox'
import {
  ExitSignatureRequest,
  ExitsResponse,
  Health,
  Info,
  ListQuery,
  Ready,
  SharesResponse,
  ValidatorsRequest,
  ValidatorsResponse,
} from './schemas.ts'

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
  query?: TSchema
  body?: TSchema
  response: TSchema
}

/** Keeps the exact schema types of a table of routes. */
const contracts = <const T extends Readonly<Record<string, RouteContract>>>(table: T): T => table

export const routes = contracts({
  getInfo: {
    method: 'GET',
    path: '/info',
    summary: 'The network this relayer works for',
    access: ROLES,
    response: Info,
  },
  postValidators: {
    method: 'POST',
    path: '/validators',
    summary: 'Ask for the exits of these validators, again and again until all are ready (generation 3)',
    access: ['operator'],
    body: ValidatorsRequest,
    response: ValidatorsResponse,
  },
  getExits: {
    method: 'GET',
    path: '/exits',
    summary: 'Every live exit, for sidecars; waits for changes when asked to (generation 3)',
    access: ['sidecar'],
    query: ListQuery,
    response: ExitsResponse,
  },
  postExitSignature: {
    method: 'POST',
    path: '/exit-signature',
    summary: 'Hand in partial exit signatures of one share index (generation 3)',
    access: ['sidecar'],
    body: ExitSignatureRequest,
    response: SharesResponse,
  },
  getHealth: {
    method: 'GET',
    path: '/health',
    summary: 'Whether the process answers',
    access: 'public',
    response: Health,
  },
  getReady: {
    method: 'GET',
    path: '/ready',
    summary: 'Whether everything the main job needs works',
    access: ROLES,
    response: Ready,
  },
  getMetrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics in the Prometheus text format',
    access: ['admin'],
    response: Type.String(),
  },
  getOpenapi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    access: ROLES,
    response: Type.Unknown(),
  },
})
