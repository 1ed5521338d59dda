{{ config(materialized='materialized_view') }}
select customer, count(*) as orders, sum(amount) as amount
from {{ ref('stg_orders') }}
group by customer
