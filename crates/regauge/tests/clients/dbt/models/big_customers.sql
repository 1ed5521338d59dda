{{ config(materialized='view') }}
select c.customer, t.amount
from {{ ref('customers') }} as c join {{ ref('totals') }} as t on t.customer = c.customer
where t.amount > 10
