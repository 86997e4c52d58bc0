create table customers (
    id integer primary key,
    name text not null,
    email text not null unique,
    created_at text not null,
    total_spent text not null
) strict;

create table orders (
    id integer primary key,
    customer_id integer not null references customers (id),
    status text not null check (status in ('pending', 'paid', 'shipped', 'delivered', 'cancelled')),
    ordered_at text not null,
    total text not null
) strict;

create table order_items (
    id integer primary key,
    order_id integer not null references orders (id),
    sku text not null,
    product text not null,
    quantity integer not null check (quantity > 0),
    unit_price text not null
) strict;

create index customers_by_name on customers (name);
create index customers_by_spending on customers (cast(total_spent as real) desc, id);
create index orders_by_customer on orders (customer_id, ordered_at desc, id desc);
create index order_items_by_order on order_items (order_id, id);
