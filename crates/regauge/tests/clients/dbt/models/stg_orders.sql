{{ config(materialized='view') }}
select id as order_id, customer, ordered_on, cents / 100.0 as amount
from {{ ref('raw_orders') }}
